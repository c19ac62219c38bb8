"""What this program needs of Lightning beyond its documented interface. No other file uses its private attributes.

Each function says what it gives in terms that do not depend on Lightning's release.
`tests/training/test_lightning_internals.py` shows for each that this is so, and pyproject.toml bounds Lightning to the
minor versions that this test has passed.
"""

import lightning
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers.csv_logs import ExperimentWriter


def end_run_as_by_sigterm(trainer: lightning.Trainer, told: bool) -> None:
    """Have Lightning raise `SIGTERMException` after the current step or epoch, once that is logged; or take that back.

    `trainer.should_stop` is not enough: it ends a run as if it were complete, and not before `min_epochs`.

    Args:
        trainer: in `on_train_batch_end`, or for an epoch in `on_train_epoch_end`.
        told: whether the run is to end.
    """
    trainer._signal_connector.received_sigterm = told


def gradients_wait(trainer: lightning.Trainer) -> bool:
    """Whether the optimizer has not used the gradients of this batch yet, see `accumulate_grad_batches`."""
    return trainer.fit_loop.epoch_loop._should_accumulate()


def validation_follows(trainer: lightning.Trainer) -> bool:
    """Whether the network is validated after this batch."""
    fetcher = trainer.fit_loop._data_fetcher
    return fetcher is not None and trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)


def batch_is_complete(trainer: lightning.Trainer) -> bool:
    """Whether the epoch has begun, its last batch that was begun is complete, and all counters include it."""
    loop = trainer.fit_loop.epoch_loop
    batches = loop.batch_progress.current
    return 0 < batches.ready == batches.completed and loop._batches_that_stepped == trainer.global_step


def leave_complete_epoch(trainer: lightning.Trainer) -> None:
    """On resuming from the end of an epoch, begin the next one. To be called in `on_train_start`.

    With `max_steps`, Lightning would end the complete epoch a second time, and count that as an epoch more.
    """
    loop = trainer.fit_loop
    if loop.restarted_on_epoch_end:
        loop.epoch_progress.increment_completed()
        for each in (loop, loop.epoch_loop):
            each.on_iteration_done()  # no longer restarting


def save_checkpoint(callback: ModelCheckpoint, trainer: lightning.Trainer) -> None:
    """Save a checkpoint now, unless there was no step since the last one or checkpoints are off, as in a fast_dev_run.

    Args:
        callback: without `monitor`.
        trainer: that trains.
    """
    if not callback._should_skip_saving_checkpoint(trainer):
        callback._save_topk_checkpoint(trainer, callback._monitor_candidates(trainer))


def last_saved(callback: ModelCheckpoint) -> tuple[str, int]:
    """The file that was written last, empty if there is none, and the step that it was written after, or 0."""
    return callback._last_checkpoint_saved, callback._last_global_step_saved


def count_as_saved(callback: ModelCheckpoint, step: int) -> None:
    """Have a callback count this step as saved: the run starts from there."""
    callback._last_global_step_saved = step


class AppendingWriter(ExperimentWriter):
    """The writer behind Lightning's CSV logger, which would delete the file that an earlier run has left."""

    def _check_log_dir_exists(self) -> None:
        """Lightning deletes the file here."""
