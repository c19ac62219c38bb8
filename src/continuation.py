"""Going on with a run: from which file, and that it stays the same run."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from src.checkpoints import StrangeObjectsError, read_checkpoint, read_tensors
from src.errors import DenseSiamError
from src.previous import previous_beside
from src.provenance import effective
from src.runs import flat

# What has made the weights, so that they would be others under another value. Everything else can change on the way:
# where the data lies and how it is read, how long, on what and in which precision is trained, what is scored and shown.
FIXED = (
    "seed",
    "data",
    "model",
    "task",
    "trainer.accumulate_grad_batches",
    "trainer.gradient_clip_algorithm",
    "trainer.gradient_clip_val",
    "trainer.limit_train_batches",
    "trainer.overfit_batches",
)
FREE = (
    "data.index_cache",
    "data.num_workers",
    "data.on_corrupt",
    "data.root",
    "data.val_list",
    "data.val_split",
    "model.encoder.weights",  # the checkpoint holds all weights
    "task.network.encoder.weights",
    "task.probes",
    "task.region_start",  # see `first_region_epoch`
)
SHOWN = 4
NOT_SET = "not set"


class Start(NamedTuple):
    """A checkpoint to go on from: where it is, what it holds, and the step that it was written after."""

    path: Path
    checkpoint: dict[str, Any]
    step: int


def start_at(path: str) -> Start:
    """Read the checkpoint to go on from. In place of a damaged `last.ckpt` it is the `previous.ckpt` beside it.

    Raises:
        DenseSiamError: see `read_checkpoint`.
    """
    try:
        found, checkpoint = Path(path), read_checkpoint(path)
    except StrangeObjectsError:
        raise
    except DenseSiamError as error:
        previous = previous_beside(Path(path))
        if previous is None or not is_damaged(path):
            raise
        found, checkpoint = previous, read_checkpoint(previous)
        rank_zero_warn(f"{error}; going on from {found} instead, which holds step {checkpoint['global_step']}")
    return Start(found, checkpoint, checkpoint["global_step"])


def is_damaged(path: str) -> bool:
    """Whether a file is missing, or isn't what was written."""
    try:
        read_tensors(path, "a checkpoint")
    except DenseSiamError:
        return True
    return False


def go_on(start: Start, config: Mapping[str, Any]) -> dict[str, Any]:
    """Say where a run goes on and which values change there.

    Args:
        start: where it goes on.
        config: that it is to go on with, plain containers, interpolations resolved.

    Returns:
        `resumed`, for the record of what the run is made from: for each time that it was resumed the step, and name ->
        [old, new] of the values that changed.

    Raises:
        DenseSiamError: naming values that must not change, see `FIXED`: the checkpoint's own would win over them.
    """
    changed = changes(start.checkpoint["config"], config)
    refused = [name for name in changed if is_fixed(name, changed)]
    faults = [f"{name}={changed[name][1]} (was {changed[name][0]})" for name in refused[:SHOWN]]
    faults += [f"{len(refused) - SHOWN} more"] if len(refused) > SHOWN else []
    faults += schedule_faults(start, config)
    if faults:
        raise DenseSiamError(
            f"{start.path} was trained otherwise: found {', '.join(faults)}; expected the values that it has; "
            f"for a new run from its weights set weights={start.path} in place of ckpt_path"
        )
    said = "".join(f", {name}={new} (was {old})" for name, (old, new) in changed.items())
    rank_zero_only(print)(f"Going on from {start.path} after step {start.step}{said}")
    earlier = start.checkpoint.get("origin", {}).get("resumed", [])
    return {"resumed": [*earlier, {"step": start.step, "changed": changed}]}


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Dotted name -> [old, new] of the values that count and differ between two configs, the outer ones first."""
    before, after = (flat(effective(each)) for each in (old, new))
    names = sorted({*before, *after} - {"ckpt_path"}, key=lambda name: (name.count("."), name))
    pairs = {name: [before.get(name, NOT_SET), after.get(name, NOT_SET)] for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def is_fixed(name: str, changed: Mapping[str, Any]) -> bool:
    """Whether a value that changes must not, and is no mere copy of another one that does."""
    copied = name.startswith("task.network.") and name.replace("task.network.", "model.", 1) in changed
    return within(name, FIXED) and not within(name, FREE) and not copied


def schedule_faults(start: Start, config: Mapping[str, Any]) -> list[str]:
    """What of the epochs behind the checkpoint would have been otherwise, had the run been as long from the start."""
    old, begun = start.checkpoint["config"], start.checkpoint["epoch"] + 1
    lengths = [{name: each["trainer"].get(name) for name in ("max_epochs", "max_steps")} for each in (old, config)]
    if config["task"].get("schedule") == "cosine" and lengths[0] != lengths[1]:
        name = next(name for name, value in lengths[0].items() if value != lengths[1][name])
        was = f"trainer.{name}={lengths[1][name]} (was {lengths[0][name]})"
        return [f"{was}, which the cosine of the learning rate follows from the first step on"]
    before, after = first_region_epoch(old), first_region_epoch(config)
    if min(before, begun) == min(after, begun):
        return []
    epochs = lengths[1]["max_epochs"]
    same = "null" if before == math.inf else f"{(before + 0.5) / epochs:.4g}"
    return [
        f"RegionSim from epoch {after} of {epochs} on (was {before}; task.region_start={same} keeps that)",
    ]


def first_region_epoch(config: Mapping[str, Any]) -> float:
    """The epoch, counted from 0, that RegionSim begins in; infinite for never, and for values that the task refuses."""
    start, epochs = config["task"].get("region_start"), config["trainer"].get("max_epochs")
    weight = config["task"]["loss_weights"].get("region")
    if not weight or type(start) not in (int, float) or not math.isfinite(start):
        return math.inf
    return math.floor(start * epochs) if type(epochs) is int and epochs > 0 else math.inf


def within(name: str, places: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of these, or below one."""
    return any(name == place or name.startswith(f"{place}.") for place in places)
