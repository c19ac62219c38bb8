"""The page that puts runs side by side."""

import os
from collections.abc import Sequence

from src.overrides import spelled
from src.results.pages.gallery import Gallery
from src.results.pages.rendering import render
from src.results.pages.run_page import Rows, axis, curve_groups, differing, drawn
from src.results.pages.sections import class_bars, class_score, columns_of, details, score_rows
from src.results.pages.series import together
from src.results.runs import Run, main_row
from src.results.scores import describe


def compare_page(runs: Sequence[Run], metrics: Sequence[Rows], galleries: Sequence[Gallery | None], remark: str) -> str:
    """The page of several runs as HTML.

    Args:
        runs: the runs.
        metrics: the rows of the `metrics.csv` of each.
        galleries: predictions of each; None if they could not be made.
        remark: why a gallery is missing, as sentences; "" if none is.

    Raises:
        DenseSiamError: a part of a `scores.json` is damaged.
    """
    names, columns = names_of(runs), columns_of(runs)
    bars = [{bar.name: bar for bar in class_bars(run)} for run in runs]
    classes = list(dict.fromkeys(name for one in bars for name in one))
    found = {name: curve_groups(run, rows) for name, run, rows in zip(names, runs, metrics, strict=True)}
    label = axis(runs[0]) if len({axis(run) for run in runs}) == 1 else "epoch or step"
    costs = [dict(details(run.document, "cost")) for run in runs]
    protocols = [describe(run.document["protocol"]) for run in runs if run.document["scores"]]
    entries = list(dict.fromkeys(entry for cost in costs for entry in cost))
    return render(
        "compare.html.j2",
        {
            "title": f"{len(runs)} runs side by side",
            "contents": [],
            "names": names,
            "runs": runs,
            "columns": columns,
            "scores": [score_rows(run, columns) for run in runs],
            "main_rows": [main_row(run) for run in runs],
            "protocols": list(dict.fromkeys(protocols)),
            "label_free": [run.document.get("label_free") or {} for run in runs],
            "class_score": " or ".join(dict.fromkeys(map(class_score, runs))),
            "classes": [(name, [one.get(name) for one in bars]) for name in classes],
            "charts": drawn(together(found), label),
            "rows": side_by_side(names, galleries),
            "remark": remark,
            "config": [(key, [spelled(value) for value in values]) for key, values in differing(runs)],
            "costs": [(entry, [cost.get(entry) for cost in costs]) for entry in entries],
        },
    )


def names_of(runs: Sequence[Run]) -> list[str]:
    """Short names of runs: the parts of their paths in which they differ."""
    paths = [str(run.folder.resolve()) for run in runs]
    shared = os.path.commonpath(paths)
    return [os.path.relpath(path, shared) if len(set(paths)) > 1 else os.path.basename(path) for path in paths]


def side_by_side(names: Sequence[str], galleries: Sequence[Gallery | None]) -> list[tuple[str, dict[str, object]]]:
    """Each image that all galleries show, with its pictures by their headings; predictions are headed by their run."""
    known = [(name, gallery) for name, gallery in zip(names, galleries, strict=True) if gallery is not None]
    if len(known) < 2:
        return []
    shown = {name: {one.source: one for one in gallery.shown} for name, gallery in known}
    first = known[0][0]
    rows: list[tuple[str, dict[str, object]]] = []
    for image, one in shown[first].items():
        if all(image in others for others in shown.values()):
            *given, last = one.pictures
            pictures: dict[str, object] = {heading: one.pictures[heading] for heading in given if heading != "clusters"}
            for name, others in shown.items():
                iou = others[image].iou
                score = "" if iou is None else f", IoU {iou:.1f} %"
                pictures[f"{name}{score}"] = others[image].pictures[last]
            rows.append((one.name, pictures))
    return rows
