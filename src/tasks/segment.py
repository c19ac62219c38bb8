"""Unsupervised semantic segmentation: Eq. 8 (paper section 4)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Unpack

import torch
from torch import Tensor

from src.checks import check_choice, check_made
from src.errors import DenseSiamError
from src.evaluation.protocol import Protocol
from src.evaluation.scoring import Scoring
from src.losses import WEIGHTINGS, Weighting, balanced_weights, category_counts, category_weights, segmentation_loss
from src.metrics import Category
from src.models.siamese import DenseSiam, View
from src.tasks.pairs import resolved_weights
from src.tasks.siamese import Comparison, SiameseModule, used_losses

LOSSES = ("dense", "aux", "seg", "region")


class Segment(SiameseModule):
    """Trains a Dense Siamese Network whose projector's channels become the classes.

    Args:
        network: makes the network, given the losses that can count in this run.
        classes: of the labels, for scoring only.
        loss_weights: lambda of each loss of Eq. 8; `balanced` for lambda_1 (`dense`) and lambda_4 (`aux`). Every row of
            Table 5 is a choice of zeros here.
        seg_weighting: of the categories in L_seg.
        protocol: of scoring.
        comparison: see `Comparison`.

    Raises:
        DenseSiamError: unknown losses, weights or distance; fewer pseudo-categories than classes; an auxiliary head is
            to be scored and there is none; no point to compare; on training: a loss that is not finite.
    """

    def __init__(
        self,
        network: Callable[..., DenseSiam],
        classes: Sequence[Category],
        loss_weights: Mapping[str, float | Literal["balanced"]],
        seg_weighting: Weighting,
        protocol: Protocol,
        **comparison: Unpack[Comparison],
    ) -> None:
        check_choice("task.seg_weighting", seg_weighting, WEIGHTINGS)
        used = used_losses(loss_weights, comparison["region_start"], LOSSES)
        check_made("task.network", network, callable, "model=fpn")
        model = network(losses=used)
        if model.losses != used:
            raise DenseSiamError(
                f"grid_size is {model.grid_size}: segmentation needs at least 1, or null for one point per cell"
            )
        if protocol.head == "aux" and model.aux_head is None:
            raise DenseSiamError(
                "protocol.head is aux, but the network has no auxiliary head: give task.loss_weights.aux a weight, or "
                "score protocol.head=main"
            )
        clusters = {"main": model.num_categories, "aux": model.num_aux_categories}[protocol.head]
        weights = resolve_weights(loss_weights, used, model.num_categories, model.num_aux_categories)
        super().__init__(
            model, weights, comparison, Scoring(classes, clusters, protocol.matching), protocol, name="densesiam"
        )
        self.seg_weighting: Weighting = seg_weighting

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W), uint8 or float in [0, 1], to the logits (B, N, h, w) of the head to be scored."""
        logits: Tensor = self.network(images) if self.protocol.head == "main" else self.network.aux_logits(images)
        return logits

    def losses(self, first: View, second: View, valid: Tensor) -> dict[str, Tensor]:
        """The unweighted losses that count now, each a scalar, averaged over the valid images of all processes."""
        per_image: dict[str, Tensor] = {}
        if first.dense and second.dense:
            per_image["dense"] = self.pixels(first.dense, second.dense)
        if first.aux and second.aux:
            per_image["aux"] = self.pixels(first.aux, second.aux)
        if "seg" in self.weights and first.z is not None and second.z is not None:
            per_image["seg"] = 0.5 * self.seg_loss(first.z, valid) + 0.5 * self.seg_loss(second.z, valid)
        if first.regions and second.regions:
            per_image["region"] = self.regions(first.regions, second.regions)
        return {name: self.mean_over_images(value, valid) for name, value in per_image.items()}

    def seg_loss(self, z: Tensor, valid: Tensor) -> Tensor:
        """L_seg of one view, (B,), with category counts over all processes."""
        counts = self.mean_over_processes(category_counts(z, valid))
        return segmentation_loss(z, category_weights(counts, self.seg_weighting))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.comparison["optimizer"]([{"params": self.network.parameters()}])


def resolve_weights(
    loss_weights: Mapping[str, float | str], used: frozenset[str], num_categories: int, num_aux_categories: int
) -> dict[str, float]:
    """Numbers for the used losses. `balanced` is log-balanced with both heads, and 1 for a head that is alone.

    Raises:
        DenseSiamError: a weight that is neither a number from 0 nor, for `dense` and `aux`, `balanced`.
    """
    dense, aux = balanced_weights(num_categories, num_aux_categories) if {"dense", "aux"} <= used else (1.0, 1.0)
    return resolved_weights(loss_weights, used, {"dense": dense, "aux": aux})
