"""The start of a run's encoder, and the pre-training run behind it, which is found by its hash wherever files lie."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from src.results.runs import Run
from src.results.tables.origins import hash_before, source_of
from src.results.tables.published import Row
from src.results.tables.sorting import departures

SCRATCH, SUPERVISED = "scratch", "supervised"


class Start(NamedTuple):
    """From what a run's encoder started.

    Attributes:
        name: name of a row: `scratch`, `supervised`, a row of the paper's table, or a file with the start of its hash.
        identity: the same text for runs from the same weights: the hash of the file, or the name.
        before: the pre-training run, if it is known.
    """

    name: str
    identity: str
    before: Run | None = None


def start_of(run: Run, pretrained: Mapping[str, Run], rows: Iterable[Row]) -> Start:
    """The start of a run.

    Args:
        run: the run.
        pretrained: runs by the hash of their config.
        rows: rows of a table; those with values are starts from pre-training runs with these values.
    """
    source = source_of(run)
    if source is None:
        return Start(SCRATCH, SCRATCH)
    if "name" in source:
        name = str(source["name"])
        supervised = name.startswith("IMAGENET") or name == "pypi"
        return Start(SUPERVISED if supervised else f"{name} {encoder_of(run)}", name)
    file, sha256 = Path(str(source["path"])).name, str(source["sha256"])
    before = pretrained.get(hash_before(run) or "")
    if before is None:
        return Start(f"{file} ({sha256[:8]})", sha256)
    own = next((row.name for row in rows if row.values and not departures(before, row)), None)
    return Start(own or f"{method_of(before)} of {before.folder}", sha256, before)


def encoder_of(run: Run) -> str:
    """The name of a run's encoder, such as `resnet50` or `efficientnet_lite0`."""
    target = str(run.values.get("model.encoder._target_", "")).rpartition(".")[2]
    return str(run.values.get("model.encoder.name", target))


def method_of(run: Run) -> str:
    """The class of a run's task."""
    return str(run.values.get("task._target_", "")).rpartition(".")[2]
