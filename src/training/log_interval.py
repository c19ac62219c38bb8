"""The number of steps between two rows of the log."""

from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback


class LogEachEpoch(Callback):
    """Lowers `trainer.log_every_n_steps` to the steps of an epoch, so that each epoch is logged at least once."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        given: Any = trainer  # Lightning sets `log_every_n_steps` without declaring it
        steps = -(-trainer.num_training_batches // trainer.accumulate_grad_batches)
        given.log_every_n_steps = int(max(1, min(given.log_every_n_steps, steps)))
