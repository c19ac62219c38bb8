"""Pictures of training images and their clusters, for runs without labels."""

from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from src.checks import check_int, check_text
from src.disk import WarnOnce
from src.monitoring.pictures import log_picture


class TrainingPictures(Callback):
    """Sheets of training images, clusters and overlays of a run that is not scored; the last epoch has one.

    The images are the same ones on every sheet, spread evenly over all training images. A sheet is written as PNG,
    and to the loggers that can show pictures. Methods that predict nothing without labels get no sheet.

    Args:
        folder: folder in which `clusters_stepSTEP.png` is written.
        num_images: how many images are shown; 0 to 1000.
        num_sheets: how many sheets a run of a known number of epochs leaves at most, spread evenly over its epochs.
    """

    def __init__(self, folder: str, num_images: int, num_sheets: int) -> None:
        check_text("callbacks.training_pictures.folder", folder)
        check_int("callbacks.training_pictures.num_images", num_images, high=1000)
        check_int("callbacks.training_pictures.num_sheets", num_sheets, low=1)
        self.folder, self.num_images, self.num_sheets = Path(folder), num_images, num_sheets
        self.last_step = -1  # of the last sheet
        self.tolerated = WarnOnce(f"pictures in {folder}")

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.is_due(trainer.current_epoch, trainer.max_epochs):
            self.draw(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.draw(trainer, pl_module)  # a limit of steps or of time may have ended the run before its last epoch

    def draw(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Draw and log a sheet of the weights as they are, unless there is one or the run is scored."""
        # monitoring may not import the tasks; `src.tasks.base.Task` promises `is_scored` and `training_picture`
        task: Any = pl_module
        if task.is_scored or trainer.global_step == self.last_step:
            return
        self.last_step = trainer.global_step
        sheet = task.training_picture(self.num_images)  # all processes: methods with clusters fit them together
        if sheet is None or not trainer.is_global_zero:
            return
        with self.tolerated:
            for logger in trainer.loggers:
                with self.tolerated:
                    log_picture(logger, "pictures/clusters", sheet, trainer.global_step)
            self.folder.mkdir(parents=True, exist_ok=True)
            sheet.save(self.folder / f"clusters_step{trainer.global_step:06d}.png")

    def is_due(self, epoch: int, epochs: int | None) -> bool:
        """Whether a sheet is drawn after an epoch, counted from 0, of a run of so many epochs (None or -1: endless)."""
        if epochs is None or epochs <= self.num_sheets:
            return True
        return (epoch + 1) * self.num_sheets // epochs > epoch * self.num_sheets // epochs
