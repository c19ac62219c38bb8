"""The page of one run."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from src.results.pages.charts import curves
from src.results.pages.gallery import Gallery
from src.results.pages.rendering import render
from src.results.pages.sections import (
    class_bars,
    class_score,
    columns_of,
    config_rows,
    confusion,
    details,
    finite,
    matched_of,
    score_rows,
)
from src.results.pages.series import Group, groups, read_lines
from src.results.runs import Run, main_row

Rows = Iterable[Mapping[str, str]]


def run_page(run: Run, metrics: Rows, gallery: Gallery | None, remark: str) -> str:
    """The page of a run as HTML.

    Args:
        run: the run.
        metrics: the rows of its `metrics.csv`.
        gallery: predictions of its network; None if they could not be made.
        remark: the reason why there is no gallery, as a sentence; "" if there is one.

    Raises:
        DenseSiamError: a part of `scores.json` is damaged.
    """
    matched, columns = matched_of(run), columns_of([run])
    return render(
        "run.html.j2",
        {
            "title": title_of("Run", run.folder),
            "contents": [],
            "run": run,
            "columns": columns,
            "scores": score_rows(run, columns),
            "main_row": main_row(run),
            "label_free": run.document.get("label_free"),
            "bars": class_bars(run),
            "class_score": class_score(run),
            "learned": run.document["protocol"].get("training") == "on labels",
            "confusion": None if matched is None else confusion(matched),
            "charts": drawn(curve_groups(run, metrics), axis(run)),
            "gallery": gallery,
            "remark": remark,
            "config": config_rows(run),
            "parts_of": {part: details(run.document, part) for part in ("cost", "environment")},
        },
    )


def title_of(kind: str, folder: Path) -> str:
    """The title of a page: the last two parts of a path, such as `demo/2026-01-31_12-00-00`."""
    whole = folder.resolve()
    return f"{kind} {whole.parent.name}/{whole.name}"


def curve_groups(run: Run, metrics: Rows) -> list[Group]:
    """The curves of a run."""
    return groups(read_lines(metrics, length_of(run)))


def length_of(run: Run) -> tuple[float, float] | None:
    """How many steps and epochs a run has; None if it does not say."""
    steps, epochs = (finite(run.document["cost"].get(name)) for name in ("steps", "epochs"))
    return (steps, epochs) if steps and epochs else None


def axis(run: Run) -> str:
    """What the horizontal axis of the curves counts."""
    return "epoch" if length_of(run) else "step"


def drawn(found: Iterable[Group], x_label: str) -> list[tuple[Group, list[tuple[str, Markup]]]]:
    """Each group of charts with the title and the picture of each of its charts."""
    return [(group, [(chart.title, curves(chart, x_label)) for chart in group.charts]) for group in found]


def differing(runs: Iterable[Run]) -> list[tuple[str, list[Any]]]:
    """The config values that are not the same in all runs, with the value of each run; None where a run has none."""
    configs = [run.values for run in runs]
    names = sorted({name for config in configs for name in config})
    rows = [(name, [config.get(name) for config in configs]) for name in names]
    return [(name, values) for name, values in rows if any(value != values[0] for value in values)]
