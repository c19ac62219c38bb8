"""Writes checkpoints that are complete and finite, and keeps the previous checkpoint beside the last one."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from src.checkpoints.finite import NotFiniteError, not_finite
from src.checkpoints.previous import LAST, keep_previous
from src.checkpoints.reading import read_tensors
from src.disk import cannot_write, write_whole
from src.errors import DenseSiamError


class WholeFiles(TorchCheckpointIO):
    """Writes only finite checkpoints, each to a new file that then replaces the old one, so one is always complete.

    When `last.ckpt` is replaced, the old file becomes `previous.ckpt`, unless it is damaged. Lightning's own class
    writes to the folder for temporary files first, and has to copy the file if that folder is on another disk.

    Raises:
        DenseSiamError: reading fails, see `read_tensors`; or the disk is full or the folder can't be written.
        NotFiniteError: a weight, a statistic or the optimiser's state that is to be written is not finite.
    """

    def __init__(self) -> None:
        self.steps: dict[Path, int | None] = {}  # the steps of the files that are known to be complete

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        checkpoint: dict[str, Any] = read_tensors(path, "a checkpoint")
        self.steps[Path(path)] = checkpoint.get("global_step")
        return checkpoint

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        check_finite(checkpoint, path, self.left(path))
        try:
            write_whole(path, partial(torch.save, checkpoint), lambda: self.keep(path))
        except OSError as error:
            advice = f"make room, or choose another folder with paths.output=DIR{self.left(path)}"
            raise cannot_write(path, error, advice) from error
        self.steps[path] = checkpoint.get("global_step")

    def keep(self, path: Path) -> None:
        """Keep `last.ckpt`, which is about to be replaced, as `previous.ckpt`, unless it is damaged."""
        if path.name == LAST and path.exists() and (path in self.steps or is_whole(path)):
            keep_previous(path)

    def left(self, path: Path) -> str:
        """The end of a message: which file stays because another is not written; "" if there is none."""
        return f"; {path} is left as it was at step {self.steps[path]}" if path in self.steps else ""


def is_whole(path: Path) -> bool:
    """Whether a checkpoint can be read."""
    try:
        read_tensors(path, "a checkpoint")
    except DenseSiamError:
        return False
    return True


def check_finite(checkpoint: Mapping[str, Any], path: Path, left: str) -> None:
    """Refuse to write a checkpoint with values that are not finite over one whose values are finite.

    Args:
        checkpoint: the checkpoint; its weights, statistics and optimiser states are checked.
        path: the file to which it was to be written.
        left: which file there is at this path, for the message.

    Raises:
        NotFiniteError: one of these values is not finite.
    """
    strange = list(not_finite({key: checkpoint.get(key) for key in ("state_dict", "optimizer_states")}))
    if strange:
        are = f"and {len(strange) - 1} more are" if len(strange) > 1 else "is"
        raise NotFiniteError(
            f"{strange[0]} {are} not finite after step {checkpoint.get('global_step')}: expected finite numbers, so "
            f"{path} is not written{left}; lower the learning rate"
        )
