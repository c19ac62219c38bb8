"""Tables of a page, from the content of `scores.json`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from src.disk import amount
from src.evaluation.matched import Matched, read_matched
from src.metrics import class_iou, matched_matrix
from src.overrides import flat, spelled
from src.results.pages.rendering import is_number
from src.results.runs import Run, main_row
from src.results.scores import score_columns

CLASS_SCORES = ("IoU", "AP")  # the scores of single classes are called IoU/NAME or AP/NAME


class Bar(NamedTuple):
    """A class: its name, its kind (`stuff` or `thing`), its score in percent and its share of the labelled pixels."""

    name: str
    kind: str
    score: float | None
    share: float | None


class Confusion(NamedTuple):
    """A confusion matrix in percent of each row.

    Attributes:
        columns: the names of the predicted classes.
        rows: the name of each true class, and its percentages.
    """

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[float]]]


def matched_of(run: Run) -> Matched | None:
    """The clusters and classes of a run; None if nothing was matched.

    Raises:
        DenseSiamError: they are damaged.
    """
    found = run.document.get("matched")
    return None if found is None else read_matched(found, str(run.folder / "scores.json"))


def columns_of(runs: Iterable[Run]) -> list[str]:
    """The scores that a table of these runs shows."""
    return score_columns(row for run in runs for row in run.document["scores"].values())


def score_rows(run: Run, columns: Sequence[str]) -> list[tuple[str, list[Any], Any]]:
    """Each row of scores: its label, the scores of the columns, and the 95 % interval of the first, if there is one."""
    return [
        (label, [row.get(name) for name in columns], run.document["intervals"].get(label, {}).get(columns[0]))
        for label, row in run.document["scores"].items()
    ]


def class_score(run: Run) -> str:
    """Which score the classes of a run have, `IoU` or `AP`."""
    row = run.document["scores"].get(main_row(run), {})
    return next((kind for kind in CLASS_SCORES if any(name.startswith(f"{kind}/") for name in row)), CLASS_SCORES[0])


def class_bars(run: Run) -> list[Bar]:
    """The classes of the main row of scores, the best first; empty without scores."""
    matched, label = matched_of(run), main_row(run)
    if matched is None:
        row = {} if label is None else run.document["scores"][label]
        kind = f"{class_score(run)}/"
        named = {name.removeprefix(kind): value for name, value in row.items() if name.startswith(kind)}
        bars = [Bar(name, "", finite(value), None) for name, value in named.items()]
    else:
        matrix = torch.tensor(matched.confusion)
        ious = class_iou(matrix, torch.tensor(matched.class_of_cluster)).tolist()
        shares = (100 * matrix.sum(dim=1) / matrix.sum().clamp(min=1)).tolist()
        bars = [
            Bar(one.name, one.kind, finite(iou), share)
            for one, iou, share in zip(matched.classes, ious, shares, strict=True)
        ]
    return sorted(bars, key=lambda bar: -1.0 if bar.score is None else bar.score, reverse=True)


def confusion(matched: Matched) -> Confusion:
    """The matrix of true and predicted classes; the last column holds clusters without a class, if there are any."""
    matrix = matched_matrix(torch.tensor(matched.confusion), torch.tensor(matched.class_of_cluster))
    percent = 100 * matrix / matrix.sum(dim=1, keepdim=True).clamp(min=1)
    names = [category.name for category in matched.classes]
    unmatched = -1 in matched.class_of_cluster
    columns = [*names, *(["no class"] if unmatched else [])]
    return Confusion(columns, [(name, row[: len(columns)]) for name, row in zip(names, percent.tolist(), strict=True)])


def config_rows(run: Run) -> list[tuple[str, str]]:
    """The config of a run, one line for each value."""
    return [(name, spelled(value)) for name, value in run.values.items()]


def details(document: Mapping[str, Any], part: str) -> list[tuple[str, Any]]:
    """A part of `scores.json`, such as `cost`, one line for each value, in words."""
    values = flat(document[part])
    memory = values.get("peak_memory")
    if isinstance(memory, int):
        values["peak_memory"] = amount(memory)
    return [(name.removeprefix("packages.").replace("_", " "), value) for name, value in values.items()]


def finite(value: Any) -> float | None:
    """A number that is finite; None for everything else."""
    return float(value) if is_number(value) else None
