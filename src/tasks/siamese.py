"""What both tasks of the Siamese network share: how its views are compared, and from when on RegionSim counts."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, Self, TypedDict

import lightning
import torch
from torch import Tensor, nn

from src.checks import check_choice, check_flag, check_keys, check_number
from src.errors import DenseSiamError
from src.evaluation.protocol import Protocol
from src.evaluation.scoring import Scoring
from src.losses import DISTANCES, contrastive_region_loss, cosine_distance, similarity_loss
from src.models.siamese import DenseSiam, Pair, View
from src.optim import MakeOptimizer, check_optimizer, first_region_epoch
from src.tasks.pairs import Embeddings, PairModule


class Comparison(TypedDict):
    """How the views are compared and the network is optimised, alike in both tasks.

    Keys:
        region_start: RegionSim counts from this share of the epochs on, see `first_region_epoch`; None for never
            (Table 4f).
        distance: of the pixels (Eq. 2, 3), one of `src.losses.DISTANCES`.
        stop_gradient: on the target side of Eq. 1, for images, pixels and `region_loss=similarity`.
        region_loss: `contrastive` (Eq. 5 and 6) or `similarity` (Eq. 1 with cosine on the regions).
        region_temperature, region_normalise, region_stop_gradient: see `contrastive_region_loss`.
        optimizer: makes the optimiser from groups of parameters.
    """

    region_start: float | None
    distance: str
    stop_gradient: bool
    region_loss: Literal["contrastive", "similarity"]
    region_temperature: float
    region_normalise: bool
    region_stop_gradient: bool
    optimizer: MakeOptimizer


def check_comparison(comparison: Comparison) -> None:
    """Refuse values that are out of their range; `used_losses` sees to `region_start`.

    Raises:
        DenseSiamError: the first of them.
    """
    check_choice("task.distance", comparison["distance"], DISTANCES)
    check_choice("task.region_loss", comparison["region_loss"], ("contrastive", "similarity"))
    check_number("task.region_temperature", comparison["region_temperature"], low=1e-4, high=1e4)
    check_flag("task.stop_gradient", comparison["stop_gradient"])
    check_flag("task.region_normalise", comparison["region_normalise"])
    check_flag("task.region_stop_gradient", comparison["region_stop_gradient"])
    check_optimizer(comparison["optimizer"])


class SiameseModule(PairModule):
    """Trains a network by comparing its two views; the subclass says with which losses.

    Args:
        network: the Siamese network.
        weights: of the losses; those that are absent are never computed.
        comparison: see `Comparison`.
        scoring, protocol, name: see `PairModule`.

    Raises:
        DenseSiamError: a value of the comparison that is out of its range; on training: see `PairModule`; batch norm
            over a single value.
    """

    network: DenseSiam

    def __init__(
        self,
        network: DenseSiam,
        weights: Mapping[str, float],
        comparison: Comparison,
        scoring: Scoring,
        protocol: Protocol,
        name: str,
    ) -> None:
        super().__init__(network, weights, scoring, protocol, name)
        check_comparison(comparison)
        self.comparison = comparison
        self.region_start = comparison["region_start"]
        self.inactive: list[nn.Module] = []

    @abstractmethod
    def losses(self, first: View, second: View, valid: Tensor) -> dict[str, Tensor]:
        """The unweighted losses that count now, each a scalar, averaged over the images of all processes."""

    def compare(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], Embeddings]:
        """The losses that count now, and the embeddings of each branch that was computed."""
        active, boxes, valid = self.regions_active(), batch["boxes"], batch["valid"]
        try:
            first, second = (self.network.view(x, boxes[:, side], active) for side, x in enumerate(batch["views"]))
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise DenseSiamError(
                f"batch norm found one value per channel with {len(valid)} image(s) per process: expected at least 2 "
                "images; raise data.batch_size, use fewer processes, or trainer=ddp on GPUs, which synchronises it"
            ) from error
        self.inactive = inactive_heads(self.network, first)
        return self.losses(first, second, valid), embeddings(first, second)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave inactive heads as they are: hundreds of epochs of weight decay would shrink them to nothing."""
        for head in self.inactive:
            for parameter in head.parameters():
                parameter.grad = None

    def rehearsal(self) -> Self:
        """A copy with every loss active from the first step, to measure what a run takes at most."""
        copy = super().rehearsal()
        copy.region_start = None if self.region_start is None else 0.0
        return copy

    def pixels(self, first: Pair, second: Pair) -> Tensor:
        """PixSim (Eq. 1), (B,), under the chosen distance."""
        distance = DISTANCES[self.comparison["distance"]]
        return similarity_loss(*first, *second, distance, self.comparison["stop_gradient"])

    def regions(self, first: Pair, second: Pair) -> Tensor:
        """RegionSim (Eq. 5), (B,), in the chosen form."""
        chosen = self.comparison
        if chosen["region_loss"] == "contrastive":
            return contrastive_region_loss(
                *first,
                *second,
                temperature=chosen["region_temperature"],
                normalise=chosen["region_normalise"],
                stop_gradient=chosen["region_stop_gradient"],
            )
        u1, v1, u2, v2 = (x.transpose(1, 2) for x in (*first, *second))  # (B, C, N): regions are positions
        return similarity_loss(u1, v1, u2, v2, cosine_distance, chosen["stop_gradient"])

    def regions_active(self) -> bool:
        """Whether RegionSim counts in this epoch."""
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
    """How many epochs a run has, the last one perhaps in part; None if neither epochs nor steps end it."""
    ends = [trainer.max_epochs] if trainer.max_epochs is not None and trainer.max_epochs > 0 else []
    if trainer.max_steps >= 0 and math.isfinite(trainer.num_training_batches):
        steps_per_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        ends.append(math.ceil(trainer.max_steps / steps_per_epoch))
    return min(ends, default=None)


def inactive_heads(network: DenseSiam, view: View) -> list[nn.Module]:
    """The heads that gave nothing for a view."""
    given = ((network.head, view.z), (network.aux_head, view.aux), (network.region_head, view.regions))
    return [head for head, output in given if head is not None and output is None]


def embeddings(first: View, second: View) -> Embeddings:
    """What each branch gives for both views, without gradient, channels last: (B, C), (B, K x K, N) or (B, N, C)."""
    sides: list[dict[str, Tensor | None]] = [
        {
            "image": view.image and view.image.target,
            "dense": None if view.z is None else view.z.flatten(2).mT,
            "aux": view.aux and view.aux.target.flatten(2).mT,
            "region": view.regions and view.regions.target,
        }
        for view in (first, second)
    ]
    pairs = {name: (sides[0][name], sides[1][name]) for name in sides[0]}
    return {
        name: (one.detach(), other.detach())
        for name, (one, other) in pairs.items()
        if one is not None and other is not None
    }


def used_losses(
    loss_weights: Mapping[str, float | str], region_start: float | None, known: tuple[str, ...]
) -> frozenset[str]:
    """Names of the losses that can ever count.

    Args:
        loss_weights: of each loss.
        region_start: see `Comparison`.
        known: losses of the task.

    Raises:
        DenseSiamError: a weight with another name than these, a start outside 0 to 1, or nothing to train on.
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
