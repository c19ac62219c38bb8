"""The checkpoint of the epoch with the best score on labels."""

from typing import Any

import lightning
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_warn

from src.errors import DenseSiamError


class BestByLabels(ModelCheckpoint):
    """Keeps `best_by_labelled_miou.ckpt`, from the validation with the highest primary metric, such as mIoU.

    Args:
        dirpath: folder of the file.

    Raises:
        DenseSiamError: training begins, but the task is not scored.
    """

    def __init__(self, dirpath: str) -> None:
        super().__init__(dirpath, "best_by_labelled_miou", mode="max", enable_version_counter=False)

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage != "fit":  # reference methods are scored before training
            return
        task: Any = pl_module  # `src.training` may not import the tasks; `src.tasks.base.Task` declares what is used
        if not task.is_scored:
            raise DenseSiamError(
                f"best_by_labelled_miou keeps the epoch of the highest {task.primary_metric}, but nothing is scored: "
                "expected labels, such as probe=own_labels or data=labelled_folder, and trainer.limit_val_batches "
                "above 0; or set callbacks=default"
            )
        self.monitor = f"{task.name}/{task.primary_metric}"

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        known: Any = trainer
        if not (self.best_model_path or known.fast_dev_run):  # a fast_dev_run writes no checkpoint
            rank_zero_warn(
                "best_by_labelled_miou has written nothing: no epoch of training was scored; lower "
                "trainer.check_val_every_n_epoch"
            )
