"""The curves of a run: the columns of its `metrics.csv`, sorted into charts."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from src.results.scores import BESIDE, KINDS

MOST_POINTS = 400
NOT_DRAWN = ("step", "epoch")
SCORES = (*KINDS[0], "mean_accuracy", *KINDS[1], *BESIDE)


class Line(NamedTuple):
    """A curve: its name in the legend, and its points."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


class Chart(NamedTuple):
    """Curves that share their axes."""

    title: str
    lines: Sequence[Line]


class Group(NamedTuple):
    """Charts of one subject, with an explanation for the reader."""

    title: str
    words: str
    charts: Sequence[Chart]


class Subject(NamedTuple):
    """A group, and the columns in it: the chart and the line that each belongs to, None for the other columns."""

    title: str
    words: str
    place: Callable[[str], tuple[str, str] | None]


def _score(column: str) -> tuple[str, str] | None:
    name, _, score = column.rpartition("/")
    return (f"{score} (%)", name) if score in SCORES and name else None


def _below(prefix: str) -> Callable[[str], tuple[str, str] | None]:
    def place(column: str) -> tuple[str, str] | None:
        return (column.removeprefix(prefix), "") if column.startswith(prefix) else None

    return place


def _collapse(column: str) -> tuple[str, str] | None:
    branch, _, metric = column.removeprefix("collapse/").rpartition("/")
    return (metric.replace("_", " "), branch) if column.startswith("collapse/") and branch else None


def _step_size(column: str) -> tuple[str, str] | None:
    return (column, "") if column.startswith("lr") or "learning_rate" in column or "grad" in column else None


SUBJECTS = (
    Subject("Scores during training", "In percent, after each validation.", _score),
    Subject("Losses", "Without their weights; the total is the weighted sum that is minimised.", _below("loss/")),
    Subject("Weighted losses", "What each loss adds to the total.", _below("weighted/")),
    Subject("Learning rate and gradient", "What determines the size of a step.", _step_size),
    Subject(
        "Label-free metrics",
        "From both views of the training images, without labels. Consistency: how often both views agree; balance: how "
        "evenly the clusters are used; 1 is the highest value of each.",
        _below("label_free/"),
    ),
    Subject(
        "Collapse monitors",
        "A branch has collapsed if all its embeddings are alike: spread near 0 (1 is healthy), or few directions "
        "(effective rank). Dead categories are clusters that no pixel has.",
        _collapse,
    ),
    Subject("Speed and data", "Time, images per second, and images that were redrawn or skipped.", lambda c: (c, "")),
)


def read_lines(rows: Iterable[Mapping[str, str]], length: tuple[float, float] | None) -> dict[str, Line]:
    """The columns of a metrics file as curves. Values that are not finite numbers are left out.

    Args:
        rows: the rows of the file; of very many rows only some are drawn.
        length: how many steps and epochs the run has; None for curves over steps instead of epochs.
    """
    points: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        step = finite(row.get("step"))
        if step is None:
            continue
        x = step
        if length and step:  # a row with step k is written after step k, and the first step is 0
            steps, epochs = length
            x = min(step + 1, steps) * epochs / steps
        for column, text in row.items():
            value = None if column in NOT_DRAWN else finite(text)
            if value is not None:
                xs, ys = points.setdefault(column, ([], []))
                xs.append(x)
                ys.append(value)
    return {column: Line(column, thinned(xs), thinned(ys)) for column, (xs, ys) in points.items()}


def groups(lines: Mapping[str, Line]) -> list[Group]:
    """The curves of a run, sorted into charts by the names of their columns; subjects without curves are left out."""
    charts: dict[str, dict[str, list[Line]]] = {subject.title: {} for subject in SUBJECTS}
    for column, line in sorted(lines.items(), key=lambda item: in_order(item[0])):
        for subject in SUBJECTS:
            if place := subject.place(column):
                title, name = place
                charts[subject.title].setdefault(title, []).append(line._replace(name=name))
                break
    return [
        Group(subject.title, subject.words, [Chart(title, found) for title, found in charts[subject.title].items()])
        for subject in SUBJECTS
        if charts[subject.title]
    ]


def in_order(column: str) -> tuple[int, str]:
    """A key for sorting: the total before the other losses, and the scores in the order of `SCORES`."""
    score = column.rpartition("/")[2]
    return (SCORES.index(score) if score in SCORES else int(column != "loss/total"), column)


def together(named: Mapping[str, Sequence[Group]]) -> list[Group]:
    """The charts of several runs, laid over each other; a line is named after its run.

    Args:
        named: the groups of each run, by the name of the run.
    """
    charts: dict[str, dict[str, list[Line]]] = {}
    words: dict[str, str] = {}
    for run, found in named.items():
        for group in found:
            words[group.title] = group.words
            for chart in group.charts:
                lines = [line._replace(name=f"{run} {line.name}".strip()) for line in chart.lines]
                charts.setdefault(group.title, {}).setdefault(chart.title, []).extend(lines)
    return [
        Group(subject.title, words[subject.title], [Chart(*chart) for chart in charts[subject.title].items()])
        for subject in SUBJECTS
        if subject.title in charts
    ]


def thinned(values: Sequence[float]) -> list[float]:
    """Every k-th value and the last one, so that at most about `MOST_POINTS` remain."""
    step = -(-len(values) // MOST_POINTS)
    return [*values[: -1 : max(1, step)], *values[-1:]]


def finite(text: str | None) -> float | None:
    """The number in a cell; None if it is empty or not finite."""
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
