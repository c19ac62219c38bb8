"""Invariant information clustering (Ji, Henriques, Vedaldi, ICCV 2019), with its over-clustering head.

It maximises the mutual information between the categories of two views at the same places. This makes the categories
agree in both views and spreads the points over all categories, without clustering.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.baselines.scored_heads import check_scored_head, head_weights
from src.checks import check_int, check_made
from src.evaluation.protocol import EvaluationProtocol
from src.evaluation.scoring import Scoring
from src.metrics import Category
from src.models.dense import DenseFeatures
from src.models.segmentation import SegmentationNetwork
from src.optim import MakeOptimizer, check_optimizer
from src.tasks.merged import MergedTask
from src.tasks.pairs import Embeddings


class IIC(MergedTask):
    """Trains dense features and 1x1 convolutions on them by mutual information.

    Args:
        network: encoder, neck and grid.
        num_categories, num_aux_categories: numbers of channels of the main and of the over-clustering head.
        classes: the classes of the labels, for scoring only.
        loss_weights: the weights of the heads `main` and `aux`: numbers, or `balanced` (log-balanced as in Eq. 8).
        radius: the largest displacement, in points of the grid and in each direction, at which places are compared.
        optimizer: makes the optimiser from groups of parameters.
        protocol: how the predictions are scored.

    Raises:
        DenseSiamError: a weight is unknown, the radius is out of its range, or the scored head has no weight; during
            training, see `PairTask`.
    """

    def __init__(
        self,
        network: DenseFeatures,
        num_categories: int,
        num_aux_categories: int,
        classes: Sequence[Category],
        loss_weights: Mapping[str, float | Literal["balanced"]],
        radius: int,
        optimizer: MakeOptimizer,
        protocol: EvaluationProtocol,
    ) -> None:
        check_int("task.radius", radius, high=32)
        check_optimizer(optimizer)
        check_made("task.network", network, DenseFeatures, "model=segmentation")
        weights = head_weights(loss_weights, num_categories, num_aux_categories)
        channels = {"main": num_categories, "aux": num_aux_categories}
        check_scored_head(protocol, weights)
        scoring = Scoring(classes, (channels | {"merged": num_categories})[protocol.head], protocol.matching)
        super().__init__(network, weights, scoring, protocol, name="iic")
        self.radius, self.optimizer, self.categories = radius, optimizer, channels | {"merged": num_categories}
        width = network.neck.channels
        self.heads = nn.ModuleDict({head: nn.Conv2d(width, channels[head], kernel_size=1) for head in sorted(weights)})
        self.merge(channels, "aux" in weights)

    def head_logits(self, features: Tensor, head: str) -> Tensor:
        logits: Tensor = self.heads[head](features)
        return logits

    def deployed(self) -> SegmentationNetwork:
        """Encoder and neck with the trained heads and the merged categories, the scored head first."""
        return SegmentationNetwork(self.network, self.with_merged_head(dict(self.heads.items())), self.categories)

    def compare(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], Embeddings]:
        """The negative mutual information between the views' categories, for each head.

        It is computed over all images of a batch together; with several processes, each uses its own part of the batch.
        """
        features = [self.network.overlap(x, batch["boxes"][:, side]) for side, x in enumerate(batch["views"])]
        losses: dict[str, Tensor] = {}
        embeddings: dict[str, tuple[Tensor, Tensor]] = {}
        for head, layer in self.heads.items():
            first, second = (layer(one).float() for one in features)
            joint = joint_distributions(first.softmax(1), second.softmax(1), batch["valid"], self.radius)
            losses[head] = -mutual_information(joint).mean()
            branch = "dense" if head == "main" else "aux"
            embeddings[branch] = (first.detach().flatten(2).mT, second.detach().flatten(2).mT)
        return losses, embeddings

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer([{"params": [*self.network.parameters(), *self.heads.parameters()]}])


def joint_distributions(first: Tensor, second: Tensor, valid: Tensor, radius: int) -> Tensor:
    """Symmetrised joint distribution of the categories at each displacement (Ji et al., section 3.2, Eq. 6).

    Args:
        first, second: (B, N, K, K) probabilities of the categories at the same places of both views.
        valid: (B,) bool, which images count.
        radius: the largest displacement in each direction, in points.

    Returns:
        ((2 radius + 1)^2, N, N) float32, one matrix per displacement, which sums to 1 (to 0 without a valid image).
    """
    height, width = first.shape[2:]
    with torch.autocast(first.device.type, enabled=False):
        counted = (first.float() * valid[:, None, None, None]).transpose(0, 1).flatten(1)  # (N, B x K x K)
        padded = F.pad(second.float(), (radius, radius, radius, radius))
        shifted = (
            padded[:, :, y : y + height, x : x + width].transpose(0, 1).flatten(1)
            for y in range(2 * radius + 1)
            for x in range(2 * radius + 1)
        )
        joint = torch.stack([counted @ other.T for other in shifted])
    joint = (joint + joint.mT) / 2
    return joint / joint.sum((1, 2), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)


def mutual_information(joint: Tensor) -> Tensor:
    """Mutual information of two categories, in nats: sum P log(P / (row sums x column sums)) (Ji et al., Eq. 3).

    Args:
        joint: (..., N, N) float32 joint distributions.

    Returns:
        (...), from 0 to log N.
    """
    floor = torch.finfo(torch.float32).eps
    rows, columns = joint.sum(-1, keepdim=True), joint.sum(-2, keepdim=True)
    logs = joint.clamp_min(floor).log() - rows.clamp_min(floor).log() - columns.clamp_min(floor).log()
    return (joint * logs).sum((-2, -1))
