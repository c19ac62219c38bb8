"""Checkpoints on disk: whole, finite, and with the one before beside them."""

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
    """Writes a checkpoint beside the one it replaces, so that there is a whole one at any time, and only finite ones.

    `last.ckpt` stays as `previous.ckpt` when it is replaced, unless it is damaged. Lightning's own goes through the
    folder for temporary files, and copies where that is on another disk.

    Raises:
        DenseSiamError: on reading, see `read_tensors`; on writing: the disk is full, or the folder can't be written.
        NotFiniteError: on writing: a weight, a statistic or the optimiser's state is not finite.
    """

    def __init__(self) -> None:
        self.steps: dict[Path, int | None] = {}  # of the files that are known to be whole

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
        """Keep `last.ckpt`, which is about to be replaced, as the previous one; a damaged one is not worth it."""
        if path.name == LAST and path.exists() and (path in self.steps or is_whole(path)):
            keep_previous(path)

    def left(self, path: Path) -> str:
        """What can be said of the file that stays where another is not written; nothing if there is none."""
        return f"; {path} is left as it was at step {self.steps[path]}" if path in self.steps else ""


def is_whole(path: Path) -> bool:
    """Whether a checkpoint can be read."""
    try:
        read_tensors(path, "a checkpoint")
    except DenseSiamError:
        return False
    return True


def check_finite(checkpoint: Mapping[str, Any], path: Path, left: str) -> None:
    """Refuse to write a training that has gone wrong over one that has not.

    Args:
        checkpoint: its weights, statistics and optimisers' states are looked at.
        path: where it was to be written.
        left: what there is at that path, for the message.

    Raises:
        NotFiniteError: one of them is not finite.
    """
    strange = list(not_finite({key: checkpoint.get(key) for key in ("state_dict", "optimizer_states")}))
    if strange:
        are = f"and {len(strange) - 1} more are" if len(strange) > 1 else "is"
        raise NotFiniteError(
            f"{strange[0]} {are} not finite after step {checkpoint.get('global_step')}: expected finite numbers, so "
            f"{path} is not written{left}; lower the learning rate"
        )
