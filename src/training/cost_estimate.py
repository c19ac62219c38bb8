"""The cost estimate of a run: a table printed before the run starts, so that the user can stop it in time."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from src.disk import amount, free_bytes
from src.threads import waiting
from src.training.precision import remark
from src.training.profiling import Measured
from src.training.resumption import LastCheckpoint

T = TypeVar("T")


class Plan(NamedTuple):
    """The settings of a trainer that determine the cost of a run.

    Attributes:
        epochs, steps: the numbers at which it stops, whichever is reached first; None for no limit.
        accumulated: batches per step.
        train_limit, val_limit: limit of the batches, as a number (int) or as a share (float).
        validate_every: epochs from one validation to the next; None if they are not counted in epochs.
        checkpoints: number of checkpoints that it keeps; None if the number is unlimited.
        precision: the number format of the network.
        device: the type of the device.
    """

    epochs: int | None
    steps: int | None
    accumulated: int
    train_limit: int | float
    val_limit: int | float
    validate_every: int | None
    checkpoints: int | None
    precision: str = "32-true"
    device: str = "cpu"


class Forecast(NamedTuple):
    """Steps, seconds and bytes of a whole run; None if a number that it is computed from is unknown."""

    steps_per_epoch: int
    steps: int | None
    train_seconds: float | None
    val_seconds: float | None
    disk: int | None


def plan_of(trainer: lightning.Trainer) -> Plan:
    """Read the plan from a trainer."""
    kept = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    by_epoch = getattr(trainer, "val_check_interval", None) == 1.0
    return Plan(
        epochs=None if trainer.max_epochs in (None, -1) else trainer.max_epochs,
        steps=None if trainer.max_steps == -1 else trainer.max_steps,
        accumulated=trainer.accumulate_grad_batches,
        train_limit=trainer.limit_train_batches,
        val_limit=trainer.limit_val_batches,
        validate_every=trainer.check_val_every_n_epoch if by_epoch else None,
        checkpoints=None if any(callback.save_top_k < 0 for callback in kept) else sum(map(files_of, kept)),
        precision=trainer.precision,
        device=trainer.strategy.root_device.type,
    )


def files_of(callback: ModelCheckpoint) -> int:
    """How many files a callback keeps; `previous.ckpt`, which is kept beside `last.ckpt`, is included."""
    return callback.save_top_k + bool(callback.save_last) + isinstance(callback, LastCheckpoint)


def forecast(measured: Measured, plan: Plan) -> Forecast:
    """Compute a run's steps, seconds and disk space from the measurement of a few steps and the trainer's plan."""
    batches, pace = limited(measured.train_batches, plan.train_limit), pace_of(measured)
    steps_per_epoch = math.ceil(batches / plan.accumulated)
    ends = [plan.epochs * steps_per_epoch] if plan.epochs is not None else []
    ends += [plan.steps] if plan.steps is not None else []
    steps = min(ends, default=None)
    epochs = steps / steps_per_epoch if steps is not None and steps_per_epoch else None
    train_seconds, val_seconds = None, None
    if epochs is not None and pace is not None:
        train_seconds = epochs * batches * pace
    val_batches = limited(measured.val_batches, plan.val_limit)
    if not val_batches:
        val_seconds = 0.0
    elif epochs is not None and plan.validate_every is not None and measured.val_seconds is not None:
        each = measured.val_start_seconds + val_batches * measured.val_seconds
        val_seconds = epochs // plan.validate_every * each
    disk = None if plan.checkpoints is None else plan.checkpoints * measured.checkpoint
    return Forecast(steps_per_epoch, steps, train_seconds, val_seconds, disk)


def pace_of(measured: Measured) -> float | None:
    """Seconds from one training batch to the next: the time of the network or the loaders, whichever is slower."""
    return None if measured.train_seconds is None else max(measured.train_seconds, measured.load_seconds or 0.0)


def limited(batches: int, limit: int | float) -> int:
    """How many batches remain under Lightning's limit; an int is a number of batches, a float a share of them."""
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)


def print_cost_estimate(measured: Measured, plan: Plan, output: Path) -> None:
    """Print the measurement and the forecast, and a warning if the checkpoints don't fit on the disk.

    Args:
        measured: the measurement of a few steps.
        plan: the plan of the run.
        output: folder that the run writes to; it need not exist yet.
    """
    costs, free = forecast(measured, plan), free_bytes(output)
    table = Table(
        title="What the run will take, from a few steps with every loss active", title_justify="left", show_header=False
    )
    table.add_column("")
    table.add_column("", justify="right")
    table.add_column("")
    precision = ("precision", plan.precision, remark(plan.precision, plan.device))
    for name, value, note in [*measured_rows(measured), precision, *forecast_rows(measured, plan, costs)]:
        table.add_row(name, value, note)
    table.add_row("threads", str(torch.get_num_threads()), waiting())
    table.add_row("free disk", amount(free), escape(str(output)))
    console = Console(width=max(100, Console().width))
    console.print(table)
    if costs.disk is not None and costs.disk > free:
        needed = f"The checkpoints need {amount(costs.disk)}, but {output} has {amount(free)} left"
        console.print(escape(f"{needed}: make room, or choose another folder with paths.output=DIR"), soft_wrap=True)


def measured_rows(measured: Measured) -> list[tuple[str, str, str]]:
    """Name, value and note of each number that was measured."""
    if measured.gpu_memory is None:
        memory_note = "peak of this process; its loader processes come on top"
    else:
        memory_note = f"peak on one GPU, of its {amount(measured.gpu_memory)}"
    load_note = "" if measured.load_seconds is None else f"loading alone: {measured.load_seconds:,.3f}"
    pace = pace_of(measured)
    return [
        ("training images", f"{measured.images:,}", ""),
        ("batch", f"{measured.batch:,}", "images of all processes together"),
        ("parameters", f"{measured.parameters:,}", f"{measured.learned:,} of them learn"),
        ("memory", known(measured.memory, amount), memory_note),
        ("seconds per batch", known(pace, "{:,.3f}".format), load_note),
        ("images per second", known(pace, lambda value: f"{measured.batch / value:,.1f}"), ""),
    ]


def forecast_rows(measured: Measured, plan: Plan, costs: Forecast) -> list[tuple[str, str, str]]:
    """Name, value and note of each number of the forecast."""
    train, val = costs.train_seconds, costs.val_seconds
    both = None if train is None or val is None else train + val
    epochs = plan.epochs
    if epochs is None and costs.steps is not None and costs.steps_per_epoch:
        epochs = math.ceil(costs.steps / costs.steps_per_epoch)
    return [
        ("steps per epoch", f"{costs.steps_per_epoch:,}", ""),
        ("epochs", known(epochs, "{:,}".format), ""),
        ("steps in all", known(costs.steps, "{:,}".format), ""),
        ("estimated time", known(both, duration), f"training {known(train, duration)}, scoring {known(val, duration)}"),
        ("checkpoints", known(costs.disk, amount), f"{known(plan.checkpoints, str)} of {amount(measured.checkpoint)}"),
    ]


def known(value: T | None, form: Callable[[T], str]) -> str:
    """A value in words, or "unknown" for None."""
    return "unknown" if value is None else form(value)


def duration(seconds: float) -> str:
    """A duration in words, such as "41 s", "3 min 20 s" or "2 h 13 min"."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
