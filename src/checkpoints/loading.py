"""Loads a trained network for use."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from src.checkpoints.reading import read_checkpoint
from src.checkpoints.rebuilding import check_parts, rebuild
from src.errors import DenseSiamError
from src.stored_classes import read_plain_classes

REBUILT = ("data", "model", "probe", "protocol", "task")  # the only groups of a stored config that are built


class Loaded(NamedTuple):
    """A trained network and the checkpoint that it comes from.

    Attributes:
        network: what `src.tasks.base.Task.deployed` returns, in evaluation mode.
        checkpoint: see `src.checkpoints.reading.read_checkpoint`.
    """

    network: Any
    checkpoint: dict[str, Any]


def load_deployed(path: str | Path) -> Loaded:
    """Rebuild the network of a segmentation run and load its weights.

    Args:
        path: a checkpoint of a segmentation run. It may come from a stranger, see docs/checkpoints.md.

    Raises:
        DenseSiamError: see `read_rebuildable` and `rebuild`; or the checkpoint is from a pre-training run; or its
            weights don't fit its config.
    """
    checkpoint = read_rebuildable(path)
    config = checkpoint["config"]
    protocol = rebuild(part_of(config, "protocol", path))
    stored = checkpoint.get("classes")  # of a network that predicts classes, not clusters
    classes = () if stored is None else read_plain_classes(stored, str(path))
    task = rebuild(part_of(config, "task", path), classes=classes, protocol=protocol)  # see `src.tasks.base.Task`
    fill(task, checkpoint["state_dict"], path)
    try:
        network = task.deployed()
    except DenseSiamError as error:
        raise DenseSiamError(f"{path} can't be used on images: {error}") from error
    return Loaded(network.eval(), checkpoint)


def read_rebuildable(path: str | Path, also: Collection[str] = ()) -> dict[str, Any]:
    """Read a checkpoint whose network is to be rebuilt, see `read_checkpoint`.

    Args:
        path: path of the file.
        also: see `rebuild`.

    Raises:
        DenseSiamError: see `read_checkpoint` and `check_parts`.
    """
    checkpoint = read_checkpoint(path)
    for group in REBUILT:
        check_parts(checkpoint["config"].get(group), also)
    return checkpoint


def part_of(config: Mapping[str, Any], name: str, path: str | Path) -> Mapping[str, Any]:
    """A group of a stored config.

    Raises:
        DenseSiamError: the config has no group of this name.
    """
    part = config.get(name)
    if not isinstance(part, dict):
        raise DenseSiamError(f"the config in {path} has no {name}: expected a checkpoint of src.train of this version")
    return part


def fill(task: Any, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Load all weights of a checkpoint into its rebuilt task.

    Args:
        task: a `src.tasks.base.Task`, which this package may not import.
        state: the weights, which an older version may have written.
        path: the checkpoint, for messages.

    Raises:
        DenseSiamError: the weights don't fit; the message names the first that doesn't.
    """
    found = task.upgraded(state)
    check_fits(found, task, path)
    task.load_state_dict(found)


def check_fits(state: Mapping[str, Tensor], module: nn.Module, path: str | Path) -> None:
    """Refuse weights whose names or shapes differ from those of a module.

    Raises:
        DenseSiamError: a weight is missing, unknown or of another shape; the message names the first.
    """
    own = {name: value.shape for name, value in module.state_dict().items()}
    missing, unknown = [name for name in own if name not in state], [name for name in state if name not in own]
    if missing:
        raise DenseSiamError(f"{path} lacks {len(missing)} weights of its network, the first is {missing[0]!r}")
    if unknown:
        raise DenseSiamError(f"{path} has {len(unknown)} weights that its network has not, the first is {unknown[0]!r}")
    for name, shape in own.items():
        if (found := state[name].shape) != shape:
            raise DenseSiamError(
                f"{name} in {path} has the shape {tuple(found)}: expected {tuple(shape)}, as its config says"
            )
