"""Reports of images that could not be read."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from src.checks import check_text
from src.disk import WarnOnce


class Unreadable(Callback):
    """Counts and names the images that could not be read, after each epoch; for `data.on_corrupt=skip`.

    Args:
        file: file to which every message is appended as a line; it is not made if all images can be read.
    """

    def __init__(self, file: str) -> None:
        check_text("callbacks.unreadable.file", file)
        self.file, self.tolerated = Path(file), WarnOnce(file)
        self.training: set[str] = set()
        self.scoring: set[str] = set()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.training.update(filter(None, batch["unreadable"]))

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.scoring.update(filter(None, batch["unreadable"]))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        faults, self.training = over_processes(self.training, trainer.world_size), set()
        pl_module.log("unreadable_images", float(len(faults)))
        if trainer.is_global_zero:
            self.report(f"epoch {trainer.current_epoch}: {len(faults)} training image(s) replaced by others", faults)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        faults, self.scoring = over_processes(self.scoring, trainer.world_size), set()
        if trainer.is_global_zero:
            self.report(f"step {trainer.global_step}: {len(faults)} image(s) left out of the scores", faults)

    def state_dict(self) -> dict[str, list[str]]:
        return {"training": sorted(self.training)}

    def load_state_dict(self, state_dict: dict[str, list[str]]) -> None:
        self.training = set(state_dict["training"])

    def report(self, heading: str, faults: Sequence[str]) -> None:
        """Append the faults to the file and warn about them, if there are any."""
        if not faults:
            return
        with self.tolerated:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as file:
                file.writelines(f"{heading}: {fault}\n" for fault in faults)
        warnings.warn(f"{heading}; the first: {faults[0]}; all in {self.file}", stacklevel=1)


def over_processes(found: set[str], processes: int) -> list[str]:
    """The faults that any process has found, sorted. All processes must call it."""
    shares: list[Any] = [found]
    if processes > 1:
        shares = [None] * processes
        torch.distributed.all_gather_object(shares, found)
    return sorted(set().union(*shares))
