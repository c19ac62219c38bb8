"""Pictures of a network's predictions after each validation."""

from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image

from src.checks import check_int, check_text
from src.disk import WarnOnce


class Pictures(Callback):
    """After each validation, a sheet of images, labels and predictions in matched colours, as PNG and in the logger.

    The images and labels of a batch, and what `validation_step` returns, are tensors or lists of the same length.

    Args:
        folder: folder in which `NAME_stepSTEP.png` is written.
        num_images: how many images are shown, spread over the validation batches; 0 to 1000.
    """

    def __init__(self, folder: str, num_images: int) -> None:
        check_text("callbacks.pictures.folder", folder)
        check_int("callbacks.pictures.num_images", num_images, high=1000)
        self.folder, self.num_images = Path(folder), num_images
        self.tolerated = WarnOnce(f"pictures in {folder}")
        self.rows: list[tuple[Any, ...]] = []

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.rows = []

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        due = round(self.num_images * (batch_idx + 1) / int(sum(trainer.num_val_batches)))
        wanted = due - len(self.rows)
        columns = (batch["image"][:wanted], batch["label"][:wanted], outputs[:wanted])
        self.rows += zip(*move_data_to_device(columns, torch.device("cpu")), strict=True)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        task: Any = (
            pl_module  # monitoring may not import the tasks; `src.tasks.base.Task` promises `name` and `picture`
        )
        if not trainer.is_global_zero or not self.rows:
            return
        with self.tolerated:
            sheet = task.picture(self.rows)
            for logger in trainer.loggers:
                with self.tolerated:
                    log_picture(logger, f"pictures/{task.name}", sheet, trainer.global_step)
            self.folder.mkdir(parents=True, exist_ok=True)
            sheet.save(self.folder / f"{task.name}_step{trainer.global_step:06d}.png")


def log_picture(logger: Any, name: str, picture: Image.Image, step: int) -> None:
    """Log a picture if the logger can show pictures (wandb and TensorBoard)."""
    if isinstance(logger, WandbLogger):
        logger.log_image(name, [picture], step=step)
    elif isinstance(logger, TensorBoardLogger):
        pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
        logger.experiment.add_image(name, pixels.view(picture.height, picture.width, 3), step, dataformats="HWC")
