"""Numbers of finished runs, and their text in the cells of a table."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from statistics import mean, stdev
from typing import Any

from src.results.runs import Run
from src.results.tables.published import Table
from src.results.tables.sorting import Line

PEAK, SPEED, TOTAL = "peak GB", "ms per image", "total s"
PARTS = ("loading", "clustering", "step")
RATIO = "x "
TRAINED = "after training"
WORDS = {
    PEAK: "peak memory in 10^9 bytes, of the GPU, or of the process if there is no GPU (a process that runs a sweep "
    "also holds memory of earlier jobs)",
    SPEED: "training time divided by the number of images that were trained on",
    f"{PARTS[0]} ms": "loading, clustering and step: the parts of the training time",
}


def moments(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean and standard deviation over runs.

    Both are None if a run lacks the value; the deviation is None if there is only one run.
    """
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None, None
    return mean(known), stdev(known) if len(known) > 1 else None


def spread(values: Sequence[float | None], digits: int = 1) -> str:
    """Mean and standard deviation over runs as the text of a cell; a dash if a run lacks the value."""
    middle, deviation = moments(values)
    if middle is None:
        return "-"
    return f"{middle:.{digits}f}" if deviation is None else f"{middle:.{digits}f} ± {deviation:.{digits}f}"


def digits(heading: str) -> int:
    """Number of decimals in one of our columns."""
    return 2 if heading.startswith(RATIO) else {PEAK: 3, TOTAL: 0}.get(heading, 1)


def steps(runs: Iterable[Run]) -> str:
    """The different numbers of steps of the runs, joined by commas."""
    return ", ".join(str(step) for step in sorted({run.document["cost"]["steps"] for run in runs}))


def seeds(runs: Iterable[Run]) -> list[str]:
    """The seed of each run."""
    return [str(run.values["seed"]) for run in runs]


def milliseconds(run: Run, entry: str) -> float | None:
    """Milliseconds per image trained on, for one entry of a run's cost in seconds; None if it was not recorded."""
    cost = run.document["cost"]
    images = cost.get("train_images", run.values["data.batch_size"] * cost["steps"])
    return 1000 * cost[entry] / images if images and entry in cost else None


def peak(run: Run) -> float | None:
    """Peak memory in 10^9 bytes; None if it was not measured."""
    found: float | None = run.document["cost"].get("peak_memory")
    return found / 1e9 if found else None


def total(run: Run) -> float | None:
    """Duration of the whole run in seconds."""
    seconds: float = run.document["cost"]["total_seconds"]
    return seconds


COSTS: Mapping[str, Callable[[Run], float | None]] = {
    PEAK: peak,
    **{f"{part} ms": partial(milliseconds, entry=f"{part}_seconds") for part in PARTS},
    SPEED: partial(milliseconds, entry="train_seconds"),
    TOTAL: total,
}


def measured(table: Table, line: Line, lines: Sequence[Line]) -> dict[str, list[float | None]]:
    """The values of our columns for every run of a line; None for a value that a run has not recorded.

    Args:
        table: defines the columns.
        line: a line of the table.
        lines: all lines of the table, among them the one by whose time the others are divided.
    """
    scores: dict[str, Any] = {
        heading: [run.document["scores"].get(row_of(line, label), {}).get(score) for run in line.runs]
        for heading, (label, score) in table.scores.items()
    }
    scores |= {
        heading: [run.document["scores"].get(label, {}).get(score) for run in line.tuned]
        for heading, (label, score) in table.joined.items()
    }
    beside = line.row.beside is not None  # scored within other runs, so it has no cost of its own
    costs = {name: [None if beside else COSTS[name](run) for run in line.runs] for name in table.costs}
    if table.reference is None:
        return scores | costs
    base = None if beside else reference_time(table, line, lines)
    spent = [milliseconds(run, "train_seconds") for run in line.runs]
    ratio = [value / base if base and value is not None else None for value in spent]
    return scores | costs | {f"{RATIO}{table.reference}": ratio}


def row_of(line: Line, label: str) -> str:
    """The row of `scores.json` that a column of a line shows.

    Args:
        line: the line; if its row has a label, this stands in place of `after training`.
        label: the column's row for all other lines, such as `after training, merged`.
    """
    return label if line.row.label is None else label.replace(TRAINED, line.row.label, 1)


def reference_time(table: Table, line: Line, lines: Sequence[Line]) -> float | None:
    """Mean time per image of the table's reference row, by which times are divided.

    Of several lines of that row, the one with the same shared settings as `line` is taken; None if this is not unique.
    """
    candidates = [other for other in lines if other.row.name == table.reference and other.runs]
    alike = [other for other in candidates if other.shared == line.shared] or candidates
    if len(alike) != 1:
        return None
    return moments([milliseconds(run, "train_seconds") for run in alike[0].runs])[0]
