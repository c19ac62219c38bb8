"""Unsupervised semantic segmentation: Eq. 8 (paper section 4)."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from src.errors import DenseSiamError
from src.losses import (
    DISTANCES,
    Weighting,
    balanced_weights,
    category_counts,
    category_weights,
    contrastive_region_loss,
    cosine_distance,
    segmentation_loss,
    similarity_loss,
    valid_mean,
)
from src.metrics import Category
from src.models.siamese import DenseSiam, View
from src.protocol import Protocol
from src.tasks.scoring import ScoredModule

LOSSES = ("dense", "aux", "seg", "region")


class Segment(ScoredModule):
    """Trains a Dense Siamese Network whose projector's channels become the classes.

    Args:
        network: makes the network, given the losses that can count in this run.
        classes: of the labels, for scoring only.
        loss_weights: lambda of each loss of Eq. 8; `balanced` for lambda_1 (`dense`) and lambda_4 (`aux`). Every row of
            Table 5 is a choice of zeros here.
        region_start: RegionSim is awake while epoch / max_epochs is at least this; None for never (Table 4f).
        distance: of the pixels (Eq. 2, 3), one of `src.losses.DISTANCES`.
        stop_gradient: on the target side of Eq. 1, for pixels and for `region_loss=similarity`.
        seg_weighting: of the categories in L_seg.
        region_loss: `contrastive` (Eq. 5 and 6) or `similarity` (Eq. 1 with cosine on the regions).
        region_temperature, region_normalise, region_stop_gradient: see `contrastive_region_loss`.
        optimizer: makes the optimiser from the parameters.
        protocol: of scoring.

    Raises:
        DenseSiamError: unknown losses, weights or distance; fewer pseudo-categories than classes; an auxiliary head is
            to be scored and there is none; on training: a loss that is not finite.
    """

    def __init__(
        self,
        network: Callable[..., DenseSiam],
        classes: Sequence[Category],
        loss_weights: Mapping[str, float | Literal["balanced"]],
        region_start: float | None,
        distance: str,
        stop_gradient: bool,
        seg_weighting: Weighting,
        region_loss: Literal["contrastive", "similarity"],
        region_temperature: float,
        region_normalise: bool,
        region_stop_gradient: bool,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        protocol: Protocol,
    ) -> None:
        _check_choice("distance", distance, tuple(DISTANCES))
        _check_choice("seg_weighting", seg_weighting, ("frequency", "inverse", "none"))
        _check_choice("region_loss", region_loss, ("contrastive", "similarity"))
        used = used_losses(loss_weights, region_start)
        model = network(losses=used)
        if protocol.head == "aux" and model.aux_head is None:
            raise DenseSiamError(
                "protocol.head is aux, but the network has no auxiliary head: give task.loss_weights.aux a weight, or "
                "score protocol.head=main"
            )
        clusters = {"main": model.num_categories, "aux": model.num_aux_categories}[protocol.head]
        super().__init__(classes, clusters, protocol, name="densesiam")
        self.network = model
        self.weights = resolve_weights(loss_weights, used, model.num_categories, model.num_aux_categories)
        self.region_start, self.distance, self.stop_gradient = region_start, DISTANCES[distance], stop_gradient
        self.seg_weighting: Weighting = seg_weighting
        self.region_loss, self.region_temperature = region_loss, region_temperature
        self.region_normalise, self.region_stop_gradient = region_normalise, region_stop_gradient
        self.make_optimizer = optimizer

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W), uint8 or float in [0, 1], to the logits (B, N, h, w) of the head to be scored."""
        logits: Tensor = self.network(images) if self.protocol.head == "main" else self.network.aux_logits(images)
        return logits

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Eq. 8 on a batch of view pairs, see `src.data.views.TwoViews`; returns the weighted sum."""
        awake = self.regions_awake()
        boxes = batch["boxes"]
        first, second = (self.network.view(x, boxes[:, side], awake) for side, x in enumerate(batch["views"]))
        losses = self.losses(first, second, batch["valid"])
        weighted = {name: self.weights[name] * value for name, value in losses.items()}
        total = torch.stack(list(weighted.values())).sum()
        if not torch.isfinite(total):
            terms = ", ".join(f"{name} {value.item():.4g}" for name, value in losses.items())
            raise DenseSiamError(
                f"the loss is not finite at step {self.global_step}: {terms}; "
                "lower the learning rate or train in float32"
            )
        self.log_dict({f"loss/{name}": value for name, value in losses.items()}, prog_bar=True, sync_dist=True)
        self.log_dict({f"weighted/{name}": value for name, value in weighted.items()}, sync_dist=True)
        self.log("loss/total", total, prog_bar=True, sync_dist=True)
        return total + self.unused_parameters()

    def rehearsal(self) -> "Segment":
        """A copy with every loss awake from the first step, to measure what a run takes at most."""
        copy = deepcopy(self)
        copy.region_start = None if self.region_start is None else 0.0
        return copy

    def losses(self, first: View, second: View, valid: Tensor) -> dict[str, Tensor]:
        """The unweighted losses that count now, each a scalar, averaged over the valid images of all processes."""
        per_image: dict[str, Tensor] = {}
        if first.dense and second.dense:
            per_image["dense"] = similarity_loss(*first.dense, *second.dense, self.distance, self.stop_gradient)
        if first.aux and second.aux:
            per_image["aux"] = similarity_loss(*first.aux, *second.aux, self.distance, self.stop_gradient)
        if "seg" in self.weights:
            per_image["seg"] = 0.5 * self.seg_loss(first.z, valid) + 0.5 * self.seg_loss(second.z, valid)
        if first.regions and second.regions:
            per_image["region"] = self.regions(*first.regions, *second.regions)
        return {name: valid_mean(value, valid, self.mean_over_processes) for name, value in per_image.items()}

    def seg_loss(self, z: Tensor, valid: Tensor) -> Tensor:
        """L_seg of one view, (B,), with category counts over all processes."""
        counts = self.mean_over_processes(category_counts(z, valid))
        return segmentation_loss(z, category_weights(counts, self.seg_weighting))

    def regions(self, u1: Tensor, v1: Tensor, u2: Tensor, v2: Tensor) -> Tensor:
        """RegionSim (Eq. 5), (B,), in the chosen form."""
        if self.region_loss == "contrastive":
            options = (self.region_temperature, self.region_normalise, self.region_stop_gradient)
            return contrastive_region_loss(u1, v1, u2, v2, *options)
        u1, v1, u2, v2 = (x.transpose(1, 2) for x in (u1, v1, u2, v2))  # (B, C, N): regions are positions
        return similarity_loss(u1, v1, u2, v2, cosine_distance, self.stop_gradient)

    def regions_awake(self) -> bool:
        """Whether RegionSim counts in this epoch."""
        if self.region_start is None or "region" not in self.weights:
            return False
        if not self.trainer.max_epochs or self.trainer.max_epochs < 0:
            raise DenseSiamError(
                "region_start is a share of the epochs: set trainer.max_epochs, or region_start=0 or null"
            )
        return self.current_epoch / self.trainer.max_epochs >= self.region_start

    def unused_parameters(self) -> Tensor:
        """Zero times every parameter that learns, so that DDP finds those too that no loss uses now."""
        return 0.0 * torch.stack([p.sum() for p in self.network.parameters() if p.requires_grad]).sum()

    def mean_over_processes(self, value: Tensor) -> Tensor:
        """Average over all processes; the value itself in a single one."""
        reduced: Tensor = self.trainer.strategy.reduce(value.clone(), reduce_op="mean")
        return reduced

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.make_optimizer(self.network.parameters())


def used_losses(loss_weights: Mapping[str, float | str], region_start: float | None) -> frozenset[str]:
    """Names of the losses that can ever count.

    Raises:
        DenseSiamError: a weight with another name than `LOSSES`, a start outside 0 to 1, or nothing to train on.
    """
    strange = sorted(set(loss_weights) - set(LOSSES))
    if strange:
        raise DenseSiamError(f"loss_weights has {', '.join(strange)}: expected only {', '.join(LOSSES)}")
    used = frozenset(name for name, weight in loss_weights.items() if weight != 0)
    if region_start is None:
        used -= {"region"}
    elif not 0 <= region_start < 1:
        raise DenseSiamError(
            f"region_start is {region_start}: expected a share of the epochs, from 0 to below 1, or null for never"
        )
    if not used:
        raise DenseSiamError("every loss weight is 0: give one of " + ", ".join(LOSSES) + " a weight")
    if used == {"region"} and region_start:
        raise DenseSiamError(
            f"the region loss is alone and sleeps until {region_start} of the epochs: set region_start=0"
        )
    return used


def resolve_weights(
    loss_weights: Mapping[str, float | str], used: frozenset[str], num_categories: int, num_aux_categories: int
) -> dict[str, float]:
    """Numbers for the used losses. `balanced` is log-balanced with both heads, and 1 for a head that is alone.

    Raises:
        DenseSiamError: a weight that is neither a number from 0 nor, for `dense` and `aux`, `balanced`.
    """
    dense, aux = balanced_weights(num_categories, num_aux_categories) if {"dense", "aux"} <= used else (1.0, 1.0)
    resolved = {}
    for name in sorted(used):
        weight = loss_weights[name]
        if weight == "balanced" and name in ("dense", "aux"):
            weight = {"dense": dense, "aux": aux}[name]
        if isinstance(weight, str) or not (math.isfinite(weight) and weight >= 0):
            raise DenseSiamError(
                f"loss_weights.{name} is {weight!r}: expected a number from 0, or 'balanced' for dense and aux"
            )
        resolved[name] = float(weight)
    return resolved


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise DenseSiamError(f"{name} is {value!r}: choose one of {', '.join(choices)}")
