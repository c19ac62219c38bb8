"""Stops a run at any step and resumes it with the same results as without a stop."""

import os
import random
import signal
import sys
import threading
from types import FrameType
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from src.checkpoints.finite import NotFiniteError
from src.checks import check_int, check_text
from src.errors import DenseSiamError
from src.overrides import override
from src.training.lightning_internals import (
    batch_is_complete,
    count_as_saved,
    end_run_as_by_sigterm,
    gradients_wait,
    last_saved,
    leave_complete_epoch,
    save_checkpoint,
    validation_follows,
)


class RandomStates(Callback):
    """Saves the states of the global random generators in every checkpoint and restores them.

    All processes start from one seed and draw the same numbers, so the states of process 0 are valid for all of them,
    also if their number has changed.
    """

    def __init__(self) -> None:
        self.loaded: dict[str, Any] | None = None

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["random_states"] = random_states(pl_module.device)

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.loaded = checkpoint.get("random_states")

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.loaded is not None:
            set_random_states(self.loaded, pl_module.device)
            self.loaded = None


def random_states(device: torch.device) -> dict[str, Any]:
    """The states of the global generators, including that of a GPU, as tensors and plain values."""
    name, words, *rest = np.random.get_state()  # noqa: NPY002
    states = {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(words, np.int64)), *rest),
        "torch": torch.get_rng_state(),
    }
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def set_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Restore the states of the global generators that `random_states` returned."""
    random.setstate(states["python"])
    name, words, *rest = states["numpy"]
    np.random.set_state((name, words.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


class LastCheckpoint(ModelCheckpoint):
    """Writes `last.ckpt` after each epoch, every `every_n_steps` steps within an epoch, and when the run is stopped.

    After Ctrl-C or SIGTERM, the program ends when the current step or validation is complete; a second Ctrl-C ends it
    at once. If reading the next batch fails, a checkpoint of the steps before is written as well. If a step itself
    fails, none is written, because a run can't be resumed within a step; the last checkpoint stays.

    Args:
        dirpath: folder of the file.
        every_n_steps: number of optimiser steps after which the file is written within an epoch; None for never.

    Raises:
        DenseSiamError: `every_n_steps` is no number from 1.
        SystemExit: the run was stopped during training.
    """

    def __init__(self, dirpath: str, every_n_steps: int | None) -> None:
        check_text("callbacks.checkpoint.dirpath", dirpath)
        if every_n_steps is not None:
            check_int("callbacks.checkpoint.every_n_steps", every_n_steps, low=1, otherwise="or null for never")
        super().__init__(dirpath, "last", enable_version_counter=False, save_on_train_epoch_end=True)
        self.every_n_steps = every_n_steps
        self.signal: int | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        count_as_saved(self, trainer.global_step)
        self.signal = None
        leave_complete_epoch(trainer)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self.note)  # Lightning restores the earlier handler at the end

    def note(self, number: int, frame: FrameType | None) -> None:
        """Remember a signal until the step is done."""
        if self.signal is not None and number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        self.signal = number
        say("\nStopping after this step, or this validation; Ctrl-C again stops at once\n")

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        ends = trainer.should_stop or trainer.global_step == trainer.max_steps
        if not in_mid_epoch(trainer) or (validation_follows(trainer) and not ends):
            return
        steps = trainer.global_step - last_saved(self)[1]
        if self.stops(trainer) or ends or (self.every_n_steps is not None and steps >= self.every_n_steps):
            save_checkpoint(self, trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        self.stops(trainer)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        # Several processes could wait for each other at different places, so only a single process saves here.
        if trainer.world_size == 1 and between_steps(trainer):
            try:
                save_checkpoint(self, trainer)
            except DenseSiamError as error:  # the error that has ended the run must stay visible
                print(error, file=sys.stderr)
                exception = error if isinstance(error, NotFiniteError) else exception
        if isinstance(exception, SIGTERMException):
            # Only process 0 returns an error status: if another process did, Lightning would kill process 0 too early.
            exception.code = 128 + (self.signal or signal.SIGTERM) if trainer.is_global_zero else 0
        if trainer.is_global_zero:
            print(self.how_to_go_on(trainer, exception), file=sys.stderr)

    def stops(self, trainer: lightning.Trainer) -> bool:
        """If any process has received a signal, make Lightning end the run after this step or epoch has been logged."""
        got = self.signal is not None or trainer.received_sigterm
        told = trainer.strategy.reduce_boolean_decision(got, all=False)
        end_run_as_by_sigterm(trainer, told)
        return told

    def how_to_go_on(self, trainer: lightning.Trainer, exception: BaseException) -> str:
        """One line for the user of a run that has ended early."""
        saved, step = last_saved(self)
        if not step:
            return "Stopped before a checkpoint was written"
        path = saved or trainer.ckpt_path
        if isinstance(exception, NotFiniteError):  # the same command would fail at the same step again
            start = override("weights", path)
            return f"{path} holds step {step}, all finite: a new run at a lower learning rate starts there with {start}"
        return f"{path} holds step {step}: the same command with {override('ckpt_path', path)} goes on from there"


@rank_zero_only
def say(text: str) -> None:
    """Write to the terminal, also from a signal handler that has interrupted a print."""
    os.write(2, text.encode())


def in_mid_epoch(trainer: lightning.Trainer) -> bool:
    """Whether the epoch has more batches and the optimiser has used all gradients so far."""
    return not (trainer.is_last_batch or gradients_wait(trainer))


def between_steps(trainer: lightning.Trainer) -> bool:
    """Whether one batch of an epoch is complete, all counters include it, and the next batch has not begun."""
    complete = trainer.training and batch_is_complete(trainer)
    return complete and in_mid_epoch(trainer) and not validation_follows(trainer)
