"""Output of scores, as a table in the terminal and as `scores.json`, both with the evaluation protocol."""

import json
import math
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from src.disk import cannot_write, write_whole
from src.evaluation.bootstrap import Interval
from src.evaluation.matched import Matched
from src.evaluation.scoring import Scored

# The columns of each kind of task; the first of each is the score that runs are compared by.
KINDS = (("mIoU", "mIoU_stuff", "mIoU_thing", "accuracy"), ("AP", "AP50", "AP75"))
PRIMARY = tuple(kind[0] for kind in KINDS)
BESIDE = ("COCO_AP", "COCO_AP50", "COCO_AP75", "mask_AP", "mask_AP50", "mask_AP75")  # shown where they were computed
RELEASE_COLUMNS = ("release_block_mIoU_stuff", "release_block_mIoU_thing")
PACKAGES = ("densesiam", "torch", "torchvision", "lightning", "torchmetrics", "scikit-learn", "timm", "numpy", "pillow")


def score_columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The scores that a table of these rows shows: all of a kind if its first is there; those of pixels without rows.

    Args:
        rows: scores by their names.
    """
    present = {name for row in rows for name in row}
    kinds = [kind for kind in KINDS if kind[0] in present] or KINDS[:1]
    return [*(name for kind in kinds for name in kind), *(name for name in BESIDE if name in present)]


def print_scores(rows: Mapping[str, Scored], protocol: Mapping[str, Any]) -> None:
    """Print a table with one line per row, and below it the protocol of all rows.

    Args:
        rows: scores by the label of the row; the first score is printed with its 95 % interval if there is one.
        protocol: how the images were prepared and scored.
    """
    present = {name for row in rows.values() for name in row.scores}
    columns = [*score_columns(row.scores for row in rows.values()), *(n for n in RELEASE_COLUMNS if n in present)]
    with_interval = next((name for name in columns if any(name in row.intervals for row in rows.values())), None)
    table = Table(title="Scores in percent", title_justify="left")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
        if name == with_interval:
            table.add_column("95 % interval", justify="right", no_wrap=True)
    for label, row in rows.items():
        cells = []
        for name in columns:
            cells.append(f"{row.scores[name]:.1f}" if name in row.scores else "-")
            if name == with_interval:
                cells.append(span(row.intervals.get(name)))
        table.add_row(escape(label), *cells)
    console = Console(width=max(160, Console().width))
    console.print(table)
    console.print(escape(describe(protocol)), highlight=False, soft_wrap=True)


def tabulated(rows: Mapping[str, Scored]) -> tuple[list[str], list[list[str | float | None]]]:
    """The scores with the ends of their intervals as columns and rows, for the tables of loggers.

    Returns:
        the names of the columns, `scored` first, then each score and, where it has an interval, its two ends; and for
        each row its label and its cells, None where a score is undefined.
    """
    names = list(dict.fromkeys(name for row in rows.values() for name in row.scores))
    ends = {name for row in rows.values() for name in row.intervals}
    columns = ["scored", *(part for name in names for part in (parts(name) if name in ends else (name,)))]
    cells: list[dict[str, str | float]] = [{"scored": label, **numbers(row)} for label, row in rows.items()]
    return columns, [[one.get(column) for column in columns] for one in cells]


def parts(name: str) -> tuple[str, str, str]:
    """The names of a score and of the two ends of its 95 % interval."""
    return name, f"{name}_low", f"{name}_high"


def numbers(row: Scored) -> dict[str, float]:
    """The scores of a row and the ends of their intervals by name, without those that are undefined."""
    found = dict(row.scores)
    for name, interval in row.intervals.items():
        found |= dict(zip(parts(name)[1:], (interval.low, interval.high), strict=True))
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def print_difference(difference: Mapping[str, Interval]) -> None:
    """Print by how many percentage points the checkpoint is above the baseline, and whether that is significant."""
    for name in score_columns([difference]):
        if name in difference and not math.isnan(difference[name].value):
            one = difference[name]
            unsure = "; not significant on these images" if one.low <= 0 <= one.high else ""
            ends = "" if math.isnan(one.low) else f" (95 % interval {one.low:+.1f} to {one.high:+.1f}{unsure})"
            print(f"{name}, checkpoint - baseline: {one.value:+.1f}{ends}")


def span(interval: Interval | None) -> str:
    """The ends of an interval in words, or a dash if there is no interval."""
    return "-" if interval is None or math.isnan(interval.low) else f"{interval.low:.1f} to {interval.high:.1f}"


def describe(protocol: Mapping[str, Any]) -> str:
    """The protocol on one line."""
    return "; ".join(f"{name}: {value}" for name, value in protocol.items())


def write_scores(
    path: Path,
    rows: Mapping[str, Scored],
    protocol: Mapping[str, Any],
    cost: Mapping[str, float],
    config: Mapping[str, Any],
    origin: Mapping[str, Any],
    difference: Mapping[str, Interval] | None = None,
    label_free: Mapping[str, float] | None = None,
    matched: Matched | None = None,
) -> None:
    """Write `scores.json`: scores in percent with their 95 % intervals, protocol, cost, environment, config and origin.

    Undefined scores become null. Values that JSON can't hold are written as text, so that they can't stop the writing.

    Args:
        path: the file to write.
        rows: scores and intervals by the label of the row.
        protocol: how the images were prepared and scored.
        cost: time, memory and numbers of steps and images.
        config: config of the run.
        origin: the weights and files that the scored network was made from, see `src.checkpoints.provenance`.
        difference: difference of the first two rows, if they were compared.
        label_free: label-free metrics of the last epoch, if there are any, see `src.monitoring.label_free`.
        matched: the classes that the clusters of the scored network were matched to, if there are any.

    Raises:
        DenseSiamError: the file can't be written.
    """
    document = {
        "scores": {label: row.scores for label, row in rows.items()},
        "intervals": {
            label: {name: [one.low, one.high] for name, one in row.intervals.items()} for label, row in rows.items()
        },
        **({"difference": {name: list(one) for name, one in difference.items()}} if difference else {}),
        **({"label_free": label_free} if label_free else {}),
        **({"matched": matched.plain()} if matched else {}),
        "protocol": protocol,
        "cost": cost,
        "environment": environment(),
        "config": spelled_out(config),
        "origin": spelled_out(origin),
    }
    text = json.dumps(storable(document), indent=2, allow_nan=False) + "\n"
    try:
        write_whole(path, lambda file: file.write(text.encode()))
    except OSError as error:
        advice = "the scores are printed above; make room, then write them with src.evaluate"
        raise cannot_write(path, error, advice) from error


def storable(value: Any) -> Any:
    """Convert any value to one that JSON can hold: numbers that are not finite to null, other unknown types to text.

    It never fails, because one strange value of the config must not lose the results of hours of training.
    """
    if isinstance(value, Mapping):
        return {str(key): storable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [storable(entry) for entry in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def spelled_out(value: Any) -> Any:
    """A config in which numbers that are not finite are text, so that they differ from null in the file."""
    if isinstance(value, Mapping):
        return {key: spelled_out(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [spelled_out(entry) for entry in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def environment() -> dict[str, Any]:
    """The versions and the hardware on which the numbers depend."""
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": devices or ["cpu"],
        "threads": torch.get_num_threads(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
