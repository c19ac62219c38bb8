"""Resuming a run: the checkpoint that it is resumed from, and the check that its config still fits that checkpoint."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn
from torch import Tensor

from src.checkpoints.previous import previous_beside
from src.checkpoints.provenance import effective
from src.checkpoints.reading import StrangeObjectsError, read_checkpoint, read_tensors
from src.checkpoints.rebuilding import RENAMED
from src.errors import DenseSiamError
from src.optim import first_region_epoch
from src.overrides import flat, override
from src.training.wandb_runs import check_id

# The values that determine the weights: with another value, the steps before the checkpoint would have given other
# weights. Everything else may change when a run is resumed: where the data lies and how it is read, the length, the
# device and the precision of the training, and what is scored and shown.
FIXED = (
    "seed",
    "data",
    "model",
    "task",
    "optimizer",
    "trainer.accumulate_grad_batches",
    "trainer.gradient_clip_algorithm",
    "trainer.gradient_clip_val",
    "trainer.limit_train_batches",
    "trainer.overfit_batches",
)
FREE = (
    "data.augment_on",  # changes results by rounding only
    "data.num_workers",
    "data.on_corrupt",
    "data.root",
    "data.val_list",
    "data.val_split",
    "model.memory_format",  # changes results by rounding only
    "task.network.memory_format",
    "model.encoder.weights",  # the checkpoint holds all weights
    "task.network.encoder.weights",
    "task.linear_probe",
    "task.region_start",  # see `first_region_epoch`
)
PARTS = {"loops": dict, "callbacks": dict, "optimizer_states": list, "lr_schedulers": list}  # Lightning reads these
COPIES = (("task.network.", "model."), ("task.optimizer.", "optimizer."))  # the task's copies of other values
SHOWN = 4
NOT_SET = "not set"


class Start(NamedTuple):
    """The checkpoint from which a run is resumed.

    Attributes:
        path: path of the checkpoint.
        step: number of steps after which it was written.
        begun: number of epochs that had begun by then.
        config: the config that the run had, in plain containers.
        resumed: a record of each earlier time that the run was resumed, see `go_on`.
        weights: each weight by name, without its values (on the device `meta`).
        wandb_id: the id of the run in wandb; None if it was not logged there.
    """

    path: Path
    step: int
    begun: int
    config: Mapping[str, Any]
    resumed: list[dict[str, Any]]
    weights: Mapping[str, Tensor]
    wandb_id: str | None = None


def start_at(path: str) -> Start:
    """Read the checkpoint to resume from. If it is `last.ckpt` and damaged, read the `previous.ckpt` beside it instead.

    Raises:
        DenseSiamError: see `read_checkpoint`; or the file doesn't record after which step it was written.
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
        rank_zero_warn(f"{error}; going on from {found} instead, which holds step {checkpoint.get('global_step')}")
    step, epoch = checkpoint.get("global_step"), checkpoint.get("epoch")
    if type(step) is not int or type(epoch) is not int:
        raise DenseSiamError(
            f"{found} has global_step {step!r} and epoch {epoch!r}: expected numbers, to go on from there; "
            f"start a new run from its weights with {override('weights', found)}"
        )
    for key, kind in PARTS.items():
        if not isinstance(checkpoint.get(key, kind()), kind):
            raise DenseSiamError(
                f"{key} in {found} is {type(checkpoint.get(key)).__name__}: expected what a run writes there; start a "
                f"new run from its weights with {override('weights', found)}"
            )
    wandb_id = checkpoint.get("wandb_id")
    if wandb_id is not None:
        check_id(f"wandb_id in {found}", wandb_id)
    weights = {name: value.to("meta") for name, value in checkpoint["state_dict"].items()}
    resumed = (checkpoint.get("origin") or {}).get("resumed", [])
    return Start(found, step, epoch + 1, checkpoint["config"], resumed, weights, wandb_id)


def is_damaged(path: str) -> bool:
    """Whether a file is missing or can't be read as a checkpoint."""
    try:
        read_tensors(path, "a checkpoint")
    except DenseSiamError:
        return True
    return False


def go_on(start: Start, config: Mapping[str, Any]) -> dict[str, Any]:
    """Check that a run may be resumed with this config; print where it is resumed and which values change.

    Args:
        start: the checkpoint from which it is resumed.
        config: the new config, in plain containers with interpolations resolved.

    Returns:
        `resumed`, for the record of what the run is made from: for each time that the run was resumed, the step, and
        for each value that changed, its name -> [old, new].

    Raises:
        DenseSiamError: a value has changed that must not change, see `FIXED`; or an older version began the run, and
            one of its parts, which has another name now, drew other random numbers.
    """
    before, after = (flat(effective(each)) for each in (start.config, config))
    names = sorted({*before, *after} - {"ckpt_path"}, key=lambda name: (name.count("."), name))
    pairs = {name: [before.get(name, NOT_SET), after.get(name, NOT_SET)] for name in names}
    changed = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    refused = [name for name in changed if is_fixed(name, changed)]
    older = [name.removesuffix("._target_") for name in refused if was_renamed(*changed[name])]
    if older:
        raise DenseSiamError(
            f"{start.path} is of a run that an older version began, which drew other random numbers for {older[0]}: "
            "expected a run of this version, because that one can't continue exactly; finish it with its own version, "
            f"or start a new run from its weights with {override('weights', start.path)} in place of ckpt_path"
        )
    faults = [f"{name}={changed[name][1]} (was {changed[name][0]})" for name in refused[:SHOWN]]
    faults += [f"{len(refused) - SHOWN} more"] if len(refused) > SHOWN else []
    faults += schedule_faults(before, after, start.begun)
    if faults:
        raise DenseSiamError(
            f"{start.path} was trained otherwise: found {', '.join(faults)}; expected the values that it has; "
            f"for a new run from its weights set {override('weights', start.path)} in place of ckpt_path"
        )
    said = "".join(f", {name}={new} (was {old})" for name, (old, new) in changed.items())
    rank_zero_only(print)(f"Going on from {start.path} after step {start.step}{said}")
    return {"resumed": [*start.resumed, {"step": start.step, "changed": changed}]}


def was_renamed(old: Any, new: Any) -> bool:
    """Whether two values are the former and the present name of a constructor, see `RENAMED`."""
    return isinstance(old, str) and old in RENAMED and RENAMED[old] == new


def is_fixed(name: str, changed: Mapping[str, Any]) -> bool:
    """Whether a changed value must not change, and is not the copy of another changed value, see `COPIES`."""
    copied = any(name.replace(copy, original, 1) in changed for copy, original in COPIES if name.startswith(copy))
    return within(name, FIXED) and not within(name, FREE) and not copied


def schedule_faults(before: Mapping[str, Any], after: Mapping[str, Any], begun: int) -> list[str]:
    """What would have differed in the epochs before a checkpoint if the run had had its new length from the beginning.

    Args:
        before, after: the old and the new config, by dotted names.
        begun: number of epochs before the checkpoint, including the epoch in which it was written.
    """
    first, now = begin_of_regions(before), begin_of_regions(after)
    cosine = after.get("task.schedule") == "cosine"
    follows = "cosine" if cosine else "schedule" if "task.schedule._target_" in after else ""
    regions = max(first, now) > 0
    for name in ("trainer.max_epochs", "trainer.max_steps"):
        old, new = before.get(name, -1), after.get(name, -1)
        if old != new and follows:
            return [
                f"{name}={new} (was {old}), which the {follows} of the learning rate follows from the first step on"
            ]
        if old != new and regions and name == "trainer.max_steps" and min(first, now) < math.inf:
            return [f"{name}={new} (was {old}), and RegionSim starts at a share of the whole run"]
    if min(first, begun) == min(now, begun):
        return []
    epochs = after["trainer.max_epochs"]
    same = "null" if first == math.inf else f"{(first + 0.5) / epochs:.4g}"
    was = "never" if first == math.inf else f"from {first} on"
    return [
        f"RegionSim from epoch {now} of {epochs} on (the checkpoint's run: {was}; task.region_start={same} keeps that)"
    ]


def begin_of_regions(config: Mapping[str, Any]) -> float:
    """The epoch, counted from 0, in which RegionSim begins; infinite if it never begins or the task refuses the values.

    Args:
        config: a config by dotted names.
    """
    start, epochs = config.get("task.region_start"), config.get("trainer.max_epochs")
    if not config.get("task.loss_weights.region") or not isinstance(start, int | float) or not math.isfinite(start):
        return math.inf
    if start == 0:
        return 0
    return first_region_epoch(start, epochs) if isinstance(epochs, int) and epochs > 0 else math.inf


def within(name: str, places: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of these places or lies below one."""
    return any(name == place or name.startswith(f"{place}.") for place in places)
