"""What both tasks of the Siamese network share: the losses of two views, and the epoch in which RegionSim begins."""

import math
from collections.abc import Mapping
from typing import Any, Self

import lightning
import torch
from torch import Tensor, nn

from src.checks import check_keys, check_made, check_number
from src.errors import DenseSiamError
from src.evaluation.protocol import EvaluationProtocol
from src.evaluation.scoring import Scoring
from src.models.siamese import DenseSiam, View
from src.optim import MakeOptimizer, check_optimizer, first_region_epoch
from src.tasks.criterion import Criterion
from src.tasks.pairs import Embeddings, PairTask
from src.tasks.steps import enough_for_batch_norm


class SiameseTask(PairTask):
    """Trains a Siamese network on pairs of views.

    Args:
        network: the Siamese network.
        weights: the weight of each loss by name; a loss without an entry is never computed.
        criterion: computes the losses of two views.
        region_start: the share of the epochs, 0 to 1, after which RegionSim is active, see `first_region_epoch`; None
            if it is never active (Table 4f).
        optimizer: makes the optimiser from groups of parameters.
        scoring, protocol, name: see `PairTask`.

    Raises:
        DenseSiamError: the criterion or the optimiser is missing; or, during training, batch norm gets a single value.
        NotFiniteError: see `PairTask`.
    """

    network: DenseSiam

    def __init__(
        self,
        network: DenseSiam,
        weights: Mapping[str, float],
        criterion: Criterion,
        region_start: float | None,
        optimizer: MakeOptimizer,
        scoring: Scoring,
        protocol: EvaluationProtocol,
        name: str,
    ) -> None:
        check_made("task.criterion", criterion, Criterion, "task=segment")
        check_optimizer(optimizer)
        super().__init__(network, weights, scoring, protocol, name)
        self.criterion, self.region_start, self.optimizer = criterion, region_start, optimizer
        self.inactive: list[nn.Module] = []

    def compare(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], Embeddings]:
        """The losses that are active now, and the embeddings of each branch that was computed."""
        active, boxes, valid = self.regions_active(), batch["boxes"], batch["valid"]
        with enough_for_batch_norm(len(valid)):
            first, second = (self.network.view(x, boxes[:, side], active) for side, x in enumerate(batch["views"]))
        self.inactive = inactive_heads(self.network, first)
        per_image = self.criterion(first, second, valid, self.mean_over_processes)
        losses = {name: self.mean_over_images(loss, self.counted(name, valid)) for name, loss in per_image.items()}
        return losses, embeddings(first, second)

    def counted(self, loss: str, valid: Tensor) -> Tensor:
        """The images (B,) over which a loss is averaged: those with an overlap, or all for a loss on whole images."""
        whole = loss == "image" and self.network.global_region == "image"
        return torch.ones_like(valid) if whole else valid

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Do not update inactive heads: weight decay over hundreds of epochs would bring their weights close to 0."""
        for head in self.inactive:
            for parameter in head.parameters():
                parameter.grad = None

    def worst_case(self) -> Self:
        copy = super().worst_case()
        copy.region_start = None if self.region_start is None else 0.0
        return copy

    def regions_active(self) -> bool:
        """Whether RegionSim is active in this epoch."""
        if self.region_start is None or "region" not in self.weights:
            return False
        if self.region_start == 0:
            return True
        epochs = epochs_of(self.trainer)
        if epochs is None:
            raise DenseSiamError(
                "region_start is a share of the epochs: set trainer.max_epochs or trainer.max_steps, or region_start=0 "
                "or null"
            )
        return self.current_epoch >= first_region_epoch(self.region_start, epochs)


def epochs_of(trainer: lightning.Trainer) -> int | None:
    """How many epochs a run has, a last incomplete one included; None if neither epochs nor steps limit the run."""
    ends = [trainer.max_epochs] if trainer.max_epochs is not None and trainer.max_epochs > 0 else []
    if trainer.max_steps >= 0 and math.isfinite(trainer.num_training_batches):
        steps_per_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        ends.append(math.ceil(trainer.max_steps / steps_per_epoch))
    return min(ends, default=None)


def inactive_heads(network: DenseSiam, view: View) -> list[nn.Module]:
    """The heads that computed no output for a view."""
    given = ((network.head, view.z), (network.aux_head, view.aux), (network.region_head, view.region))
    return [head for head, output in given if head is not None and output is None]


def embeddings(first: View, second: View) -> Embeddings:
    """The outputs of each branch for both views, without gradient: (B, C), (B, K x K, N) or (B, N, C)."""
    sides: list[dict[str, Tensor | None]] = [
        {
            "image": view.image and view.image.target,
            "dense": None if view.z is None else view.z.flatten(2).mT,
            "aux": view.aux and view.aux.target.flatten(2).mT,
            "region": view.region and view.region.target,
        }
        for view in (first, second)
    ]
    both = {name: (sides[0][name], sides[1][name]) for name in sides[0]}
    return {
        name: (one.detach(), other.detach())
        for name, (one, other) in both.items()
        if one is not None and other is not None
    }


def used_losses(
    loss_weights: Mapping[str, float | str], region_start: float | None, known: tuple[str, ...]
) -> frozenset[str]:
    """Names of the losses that can be active in some epoch of the run.

    Args:
        loss_weights: the weight of each loss by name.
        region_start: see `SiameseTask`.
        known: the names of the losses that the task has.

    Raises:
        DenseSiamError: a weight has an unknown name, `region_start` is outside 0 to 1, or no loss can be active.
    """
    check_keys("task.loss_weights", loss_weights, known, every=False)
    if region_start is not None:
        check_number("task.region_start", region_start, low=0, below=1, otherwise="or null for never")
    used = frozenset(name for name, weight in loss_weights.items() if weight != 0)
    if region_start is None:
        used -= {"region"}
    if not used:
        raise DenseSiamError("every loss weight is 0: give one of " + ", ".join(known) + " a weight")
    if used == {"region"} and region_start:
        raise DenseSiamError(
            f"the region loss is alone and counts only from {region_start} of the epochs on, with nothing to train on "
            "before: set region_start=0"
        )
    return used
