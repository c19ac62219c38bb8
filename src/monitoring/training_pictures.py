"""Pictures of training images and their clusters, for runs without labels."""

from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from src.checks import check_int, check_text
from src.disk import WarnOnce
from src.monitoring.pictures import log_picture


class TrainingPictures(Callback):
    """After each epoch of a run that is not scored, a sheet of training images, clusters and overlays.

    The images are the same ones after every epoch, spread evenly over all training images. The sheet is written as PNG,
    and to the loggers that can show pictures. Methods that predict nothing without labels get no sheet.

    Args:
        folder: folder in which `clusters_stepSTEP.png` is written.
        num_images: how many images are shown; 0 to 1000.
    """

    def __init__(self, folder: str, num_images: int) -> None:
        check_text("callbacks.training_pictures.folder", folder)
        check_int("callbacks.training_pictures.num_images", num_images, high=1000)
        self.folder, self.num_images = Path(folder), num_images
        self.tolerated = WarnOnce(f"pictures in {folder}")

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        # monitoring may not import the tasks; `src.tasks.base.Task` promises `is_scored` and `training_picture`
        task: Any = pl_module
        if task.is_scored:
            return
        sheet = task.training_picture(self.num_images)  # all processes: methods with clusters fit them together
        if sheet is None or not trainer.is_global_zero:
            return
        with self.tolerated:
            for logger in trainer.loggers:
                with self.tolerated:
                    log_picture(logger, "pictures/clusters", sheet, trainer.global_step)
            self.folder.mkdir(parents=True, exist_ok=True)
            sheet.save(self.folder / f"clusters_step{trainer.global_step:06d}.png")
