"""Unsupervised semantic segmentation: Eq. 8 (paper section 4)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from src.checks import check_made
from src.errors import DenseSiamError
from src.evaluation.protocol import EvaluationProtocol
from src.evaluation.scoring import Scoring
from src.losses import balanced_weights
from src.metrics import Category
from src.models.segmentation import SegmentationNetwork
from src.models.siamese import DenseSiam
from src.optim import MakeOptimizer
from src.tasks.criterion import Criterion
from src.tasks.merged import MergedTask
from src.tasks.pairs import resolved_weights
from src.tasks.siamese import SiameseTask, used_losses

LOSSES = ("dense", "aux", "seg", "region")


class Segment(MergedTask, SiameseTask):
    """Trains a Dense Siamese Network; the channels of its projector are the pseudo-categories.

    Args:
        network: makes the network, given the losses that this run can use.
        classes: the classes of the labels, for scoring only.
        loss_weights: lambda of each loss of Eq. 8; lambda_1 (`dense`) and lambda_4 (`aux`) may be `balanced`. Each row
            of Table 5 sets other weights to 0.
        criterion, region_start, optimizer: see `SiameseTask`.
        protocol: how the predictions are scored.

    Raises:
        DenseSiamError: a loss or a weight is unknown; there are fewer pseudo-categories than classes; the auxiliary
            head is to be scored, but the network has none; or the grid has no points.
        NotFiniteError: during training, a loss is not finite.
    """

    def __init__(
        self,
        network: Callable[..., DenseSiam],
        classes: Sequence[Category],
        loss_weights: Mapping[str, float | Literal["balanced"]],
        criterion: Criterion,
        region_start: float | None,
        optimizer: MakeOptimizer,
        protocol: EvaluationProtocol,
    ) -> None:
        used = used_losses(loss_weights, region_start, LOSSES)
        check_made("task.network", network, callable, "model=segmentation")
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
        categories = {"main": model.num_categories, "aux": model.num_aux_categories}
        weights = resolve_weights(loss_weights, used, model.num_categories, model.num_aux_categories)
        scoring = Scoring(classes, (categories | {"merged": model.num_categories})[protocol.head], protocol.matching)
        super().__init__(model, weights, criterion, region_start, optimizer, scoring, protocol, name="densesiam")
        self.merge(categories, model.aux_head is not None)

    def head_logits(self, features: Tensor, head: str) -> Tensor:
        logits: Tensor = self.network.projectors()[head](features)
        return logits

    def deployed(self) -> SegmentationNetwork:
        """The network with its projectors: `main` and, if it was trained, `aux` and the merged categories of `aux`."""
        main, aux = self.network.num_categories, self.network.num_aux_categories
        heads = self.with_merged_head(self.network.projectors())
        return SegmentationNetwork(self.network, heads, {"main": main, "aux": aux, "merged": main})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer([{"params": self.network.parameters()}])


def resolve_weights(
    loss_weights: Mapping[str, float | str], used: frozenset[str], num_categories: int, num_aux_categories: int
) -> dict[str, float]:
    """The weights, as numbers, of the used losses. `balanced` is log-balanced if both heads are used, and 1 otherwise.

    Raises:
        DenseSiamError: a weight is neither a number from 0 nor, for `dense` and `aux`, `balanced`.
    """
    dense, aux = balanced_weights(num_categories, num_aux_categories) if {"dense", "aux"} <= used else (1.0, 1.0)
    return resolved_weights(loss_weights, used, {"dense": dense, "aux": aux})
