"""Exact statistics of batch norm at the end of a training, in place of moving averages (PreciseBN)."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn

from src.checks import check_int


class PreciseBN(Callback):
    """After the last training step, sets the statistics of batch norm to their averages over training batches.

    The moving averages of a training are those of weights that have changed since. detectron2 does the same with 200
    batches (`TEST.PRECISE_BN`): the mean and the variance of each batch are averaged, over all processes too. This is
    done before the last checkpoint is written and the last validation begins. The batches are the first ones of the
    run, of as many epochs as needed, so the result depends on nothing else. A run that is stopped keeps its averages.

    Args:
        num_batches: number of batches in each process.
    """

    def __init__(self, num_batches: int) -> None:
        check_int("callbacks.precise_bn.num_batches", num_batches, low=1)
        self.num_batches = num_batches

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if is_last_step(trainer):
            test_run: int = getattr(trainer, "fast_dev_run", 0)  # Lightning does not declare it
            average_statistics(trainer, pl_module, min(self.num_batches, test_run or self.num_batches))


def is_last_step(trainer: lightning.Trainer) -> bool:
    """Whether the run has come to its end with the current batch."""
    ends = trainer.max_epochs not in (None, -1) and trainer.current_epoch + 1 >= trainer.max_epochs
    return trainer.global_step == trainer.max_steps or (ends and trainer.is_last_batch)


@torch.no_grad()
def average_statistics(trainer: lightning.Trainer, task: Any, count: int) -> None:
    """Set the statistics of all batch norms that learn to their averages over `count` batches; a collective call.

    Args:
        trainer: the trainer.
        task: the task, see `src.tasks.finetuning.FineTuning`, which has been given its data.
        count: number of batches in each process.
    """
    norms = [module for module in task.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    norms = [norm for norm in norms if norm.training and norm.track_running_stats]
    sums = [Average(norm) for norm in norms]
    with isolate_rng(), momentum_of_one(norms), trainer.precision_plugin.forward_context():
        for batch in training_batches(task.given_data(), count):
            task.training_forward(trainer.strategy.batch_to_device(batch))
            for each in sums:
                each.add()
    for each in sums:
        each.write(trainer)


class Average:
    """The average statistics of one batch norm, which has a momentum of 1, so that it keeps those of the last batch."""

    def __init__(self, norm: Any) -> None:
        self.norm, self.seen = norm, norm.num_batches_tracked.clone()
        self.before = [
            statistic.clone() for statistic in (norm.running_mean, norm.running_var, norm.num_batches_tracked)
        ]
        self.total = torch.zeros(2, norm.num_features, dtype=torch.float64, device=norm.running_mean.device)
        self.count = torch.zeros((), dtype=torch.float64, device=norm.running_mean.device)

    def add(self) -> None:
        """Add the statistics of the last batch, if the layer has seen it."""
        if self.norm.num_batches_tracked != self.seen:
            self.seen = self.norm.num_batches_tracked.clone()
            self.total += torch.stack([self.norm.running_mean, self.norm.running_var]).double()
            self.count += 1

    def write(self, trainer: lightning.Trainer) -> None:
        """Write the averages over all processes; a layer that has seen no batch keeps its statistics."""
        together = torch.cat([self.total.flatten(), self.count[None]])
        together = trainer.strategy.reduce(together, reduce_op="sum")
        mean, variance, tracked = self.before
        if together[-1]:
            averages = (together[:-1] / together[-1]).view(2, -1)
            mean, variance = averages[0], averages[1]
        for statistic, value in zip(
            ("running_mean", "running_var", "num_batches_tracked"), (mean, variance, tracked), strict=True
        ):
            getattr(self.norm, statistic).copy_(value)


@contextmanager
def momentum_of_one(norms: list[Any]) -> Iterator[None]:
    """Let batch norms keep the statistics of the last batch alone."""
    before = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 1.0
        yield
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum


def training_batches(data: Any, count: int) -> Iterator[Any]:
    """The first `count` batches of this process, from as many epochs as that takes, counted from 0."""
    epochs = (data.pairs_dataloader(epoch) for epoch in itertools.count())
    return itertools.islice(itertools.chain.from_iterable(epochs), count)
