"""Functions that use private attributes of Lightning. No other file uses them.

Each docstring describes the function in terms that do not depend on Lightning's release.
`tests/training/test_lightning_internals.py` tests each function, and pyproject.toml limits Lightning to the minor
versions that have passed this test.
"""

import lightning
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers.csv_logs import ExperimentWriter


def end_run_as_by_sigterm(trainer: lightning.Trainer, told: bool) -> None:
    """Make Lightning raise `SIGTERMException` after the current step or epoch has been logged, or cancel this request.

    `trainer.should_stop` can't be used: it ends a run as if it were complete, and only after `min_epochs`.

    Args:
        trainer: the trainer, while it calls `on_train_batch_end`, or `on_train_epoch_end` for an epoch.
        told: True to end the run, False to cancel the request.
    """
    trainer._signal_connector.received_sigterm = told


def gradients_wait(trainer: lightning.Trainer) -> bool:
    """Whether the optimiser has not used the gradients of this batch yet, see `accumulate_grad_batches`."""
    return trainer.fit_loop.epoch_loop._should_accumulate()


def validation_follows(trainer: lightning.Trainer) -> bool:
    """Whether the network is validated after this batch."""
    fetcher = trainer.fit_loop._data_fetcher
    return fetcher is not None and trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)


def batch_is_complete(trainer: lightning.Trainer) -> bool:
    """Whether the epoch has begun, its latest batch is complete, and all counters include this batch."""
    loop = trainer.fit_loop.epoch_loop
    batches = loop.batch_progress.current
    return 0 < batches.ready == batches.completed and loop._batches_that_stepped == trainer.global_step


def leave_complete_epoch(trainer: lightning.Trainer) -> None:
    """Begin the next epoch when a run is resumed from the end of an epoch. Call it in `on_train_start`.

    With `max_steps`, Lightning would end the complete epoch a second time and count one epoch too many.
    """
    loop = trainer.fit_loop
    if loop.restarted_on_epoch_end:
        loop.epoch_progress.increment_completed()
        for each in (loop, loop.epoch_loop):
            each.on_iteration_done()  # no longer restarting


def save_checkpoint(callback: ModelCheckpoint, trainer: lightning.Trainer) -> None:
    """Save a checkpoint now, except when there was no step since the last one or when a fast_dev_run disables them.

    Args:
        callback: a callback without `monitor`.
        trainer: the trainer, while it trains.
    """
    if not callback._should_skip_saving_checkpoint(trainer):
        callback._save_topk_checkpoint(trainer, callback._monitor_candidates(trainer))


def last_saved(callback: ModelCheckpoint) -> tuple[str, int]:
    """The file that was written last and the step after which it was written; "" and 0 if there is none."""
    return callback._last_checkpoint_saved, callback._last_global_step_saved


def count_as_saved(callback: ModelCheckpoint, step: int) -> None:
    """Make a callback treat this step as saved, because the run is resumed from it."""
    callback._last_global_step_saved = step


class AppendingWriter(ExperimentWriter):
    """The writer of Lightning's CSV logger, without its deletion of the file that an earlier run has left."""

    def _check_log_dir_exists(self) -> None:
        """Do nothing; Lightning's own method deletes the file."""


class ProgressBar(RichProgressBar):
    """The progress bar of Lightning; where steps and not epochs end the run, it does not show a number of epochs."""

    def _get_train_description(self, current_epoch: int) -> str:
        if self.trainer.max_epochs is None or self.trainer.max_epochs > 0:
            return super()._get_train_description(current_epoch)
        return f"{f'Epoch {current_epoch}':{len(self.validation_description)}}"
