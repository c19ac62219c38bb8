"""What the tasks that learn from labels share: optimiser and schedule, classes in the checkpoint, remarks."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import lightning
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn

from src.checks import check_made, check_seed
from src.errors import DenseSiamError
from src.metrics import Category
from src.optim import Groups, MakeOptimizer, check_optimizer
from src.schedules import MakeSchedule
from src.stored_classes import plain_classes
from src.tasks.base import Task

BATCH_NORM = nn.modules.batchnorm._BatchNorm  # of every number of dimensions
TRAINED_ON_LABELS = {"training": "on labels"}  # for `Task.scored_on`


class FineTuning(Task):
    """A task that trains a network on labels; a mixin, which comes first among the bases.

    Attributes:
        network: the network that is trained.
        classes: the classes of the labels; the network has an output for each.
        optimizer: makes the optimiser from groups of parameters.
        schedule: makes the schedule of the learning rate, which is updated after each step; None for constant rates.
        seed: seed of the random numbers that the network draws in training.
        decays_norms: whether the scales and shifts of batch norm have weight decay as the other parameters.
    """

    decays_norms: ClassVar[bool] = True
    network: nn.Module
    classes: Sequence[Category]
    optimizer: MakeOptimizer
    schedule: MakeSchedule | None
    seed: int

    def configure_optimizers(self) -> OptimizerLRScheduler:
        groups = [{"params": self.network.parameters()}] if self.decays_norms else groups_by_decay(self.network)
        return optimizer_and_schedule(self.trainer, groups, self.optimizer, self.schedule)

    def training_forward(self, batch: Any) -> None:
        """Run the network on a batch as a training step does, for the statistics of batch norm, see `PreciseBN`.

        Raises:
            DenseSiamError: the task offers no such step.
        """
        raise DenseSiamError(f"callbacks.precise_bn: {type(self).__name__} has no such statistics; set it to null")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["classes"] = plain_classes(self.classes)

    def remarks(self) -> list[str]:
        return [*super().remarks(), *accumulation_remark(self.trainer, self.network)]


def check_learning(optimizer: Any, schedule: Any, seed: Any) -> None:
    """Refuse values of `task.optimizer` and `task.schedule` that make no optimiser and no schedule, and a wrong seed.

    Raises:
        DenseSiamError: a value is something else.
    """
    check_optimizer(optimizer)
    if schedule is not None:
        check_made("task.schedule", schedule, callable, "schedule=poly, or null for constant rates")
    check_seed("task.seed", seed)


def groups_by_decay(network: nn.Module) -> Sequence[Mapping[str, Any]]:
    """The parameters of a network in two groups: those of batch norm, without weight decay, and all others."""
    norms = [each for module in network.modules() if isinstance(module, BATCH_NORM) for each in module.parameters()]
    own = {id(each) for each in norms}
    others = [each for each in network.parameters() if id(each) not in own]
    return [{"params": others}, {"params": norms, "weight_decay": 0.0}]


def optimizer_and_schedule(
    trainer: lightning.Trainer, groups: Groups, optimizer: MakeOptimizer, schedule: MakeSchedule | None
) -> OptimizerLRScheduler:
    """The optimiser of those parameters that learn, and its schedule over the whole run.

    Raises:
        DenseSiamError: there is a schedule, but the run has no end.
    """
    made = optimizer(groups)
    if schedule is None:
        return made
    steps = trainer.estimated_stepping_batches
    if steps == float("inf"):
        raise DenseSiamError("the schedule needs an end: set trainer.max_steps or trainer.max_epochs")
    return {"optimizer": made, "lr_scheduler": {"scheduler": schedule(made, int(steps)), "interval": "step"}}


def accumulation_remark(trainer: lightning.Trainer, network: nn.Module) -> list[str]:
    """A remark if gradients are accumulated over batches while batch norm computes statistics of each of them."""
    batches = trainer.accumulate_grad_batches
    learns = any(isinstance(module, BATCH_NORM) and module.training for module in network.modules())
    if batches == 1 or not learns:
        return []
    return [
        f"trainer.accumulate_grad_batches={batches}: the gradients are those of {batches} batches, but batch norm "
        "computes its statistics on each batch alone, so this is not the same as one larger batch"
    ]
