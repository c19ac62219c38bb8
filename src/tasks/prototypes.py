"""Segmentation by prototypes: PixSim, RegionSim and a balance term train a clustering of features further."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from src.checks import check_flag, check_made, check_number
from src.errors import DenseSiamError
from src.evaluation.protocol import EvaluationProtocol
from src.evaluation.scoring import Scoring
from src.losses import balance_loss, contrastive_region_loss, cross_entropy_distance, region_embeddings, similarity_loss
from src.metrics import Category
from src.models.prototypes import PrototypeNetwork
from src.models.segmentation import SegmentationNetwork
from src.optim import MakeOptimizer, check_optimizer
from src.tasks.merged import MergedTask
from src.tasks.pairs import Embeddings, resolved_weights
from src.tasks.siamese import used_losses

LOSSES = ("dense", "region", "balance")


class SegmentPrototypes(MergedTask):
    """Trains prototypes that spherical k-means has found, so that both views of an image have the same prototypes.

    The over-clustering `aux` consists of all sets of prototypes; the categories are their merged groups.

    Args:
        network: encoder, neck, prototypes and grid.
        classes: the classes of the labels, for scoring only.
        loss_weights: the weights of `dense` (PixSim, Eq. 1 and 3, on the logits of the prototypes), `region`
            (RegionSim, Eq. 4 to 6, on projected features under the prototypes' soft masks) and `balance` (see
            `balance_loss`).
        region_temperature: see `contrastive_region_loss`.
        region_stop_gradient: see `contrastive_region_loss`.
        optimizer: makes the optimiser from groups of parameters.
        protocol: how the predictions are scored; its `head` is `merged`, or `aux` with a single set.

    Raises:
        DenseSiamError: a weight is unknown, all are 0, or the scored head does not exist.
        NotFiniteError: during training, a loss is not finite.
    """

    network: PrototypeNetwork

    def __init__(
        self,
        network: PrototypeNetwork,
        classes: Sequence[Category],
        loss_weights: Mapping[str, float],
        region_temperature: float,
        region_stop_gradient: bool,
        optimizer: MakeOptimizer,
        protocol: EvaluationProtocol,
    ) -> None:
        check_made("task.network", network, PrototypeNetwork, "model=prototypes")
        check_number("task.region_temperature", region_temperature, low=1e-4, high=1e4)
        check_flag("task.region_stop_gradient", region_stop_gradient)
        check_optimizer(optimizer)
        weights = resolved_weights(loss_weights, used_losses(loss_weights, 0.0, LOSSES), {})
        check_readable(protocol, network.num_sets)
        categories = {"main": network.num_categories, "aux": network.num_aux_categories}
        scoring = Scoring(classes, (categories | {"merged": categories["main"]})[protocol.head], protocol.matching)
        super().__init__(network, weights, scoring, protocol, name="prototypes")
        self.merge(categories, available=True, sets=network.num_sets)
        self.region_temperature, self.region_stop_gradient = region_temperature, region_stop_gradient
        self.optimizer = optimizer

    def head_logits(self, features: Tensor, head: str) -> Tensor:
        logits: Tensor = self.network.prototypes(features)
        return logits

    def deployed(self) -> SegmentationNetwork:
        """Encoder, neck and prototypes: their merged categories and, with a single set, the prototypes themselves.

        Raises:
            DenseSiamError: there are several sets, which nothing has merged yet.
        """
        network = self.network
        heads = self.with_merged_head({"aux": network.prototypes})
        if network.num_sets > 1:
            del heads["aux"]
        if not heads:
            raise DenseSiamError(
                "its sets of prototypes are not merged yet: expected a checkpoint that was written after a validation"
            )
        categories = {"merged": network.num_categories, "aux": network.num_sets * network.num_aux_categories}
        return SegmentationNetwork(network, heads, categories)

    def compare(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], Embeddings]:
        """The losses of each set, averaged over the sets; the embeddings are those of the first set.

        `balance` is computed over all images of a batch together; with several processes, each uses its own part.
        """
        prototypes, valid, sides = self.network.prototypes, batch["valid"], enumerate(batch["views"])
        points = [self.network.overlap(x, batch["boxes"][:, side]) for side, x in sides]
        projected = [prototypes.projected(each) for each in points]  # (B, S, C, K, K)
        logits = [prototypes.of_projected(each) for each in projected]  # (B, S, M, K, K)
        per_image = {name: self.loss(name, projected, logits) for name in self.weights if name != "balance"}
        losses = {name: self.mean_over_images(loss, valid) for name, loss in per_image.items()}
        if "balance" in self.weights:
            losses["balance"] = torch.stack([balance_loss(each, valid) for each in logits]).mean()
        first, second = (each[:, 0].detach().flatten(2).mT for each in logits)
        return losses, {"dense": (first, second)}

    def loss(self, name: str, projected: Sequence[Tensor], logits: Sequence[Tensor]) -> Tensor:
        """A loss of each image, (B,), averaged over the sets.

        Args:
            name: `dense` or `region`.
            projected, logits: (B, S, C, K, K) and (B, S, M, K, K) for both views.
        """
        (one, other), sets = (each.flatten(0, 1) for each in logits), logits[0].shape[1]
        if name == "dense":
            found = similarity_loss(one, one, other, other, cross_entropy_distance, stop_gradient=True)
        else:
            first, second = projected[0].flatten(0, 1), projected[1].flatten(0, 1)
            e1, e2 = region_embeddings(one, first), region_embeddings(other, second)
            found = contrastive_region_loss(e1, e1, e2, e2, self.region_temperature, True, self.region_stop_gradient)
        return found.view(-1, sets).mean(1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer([{"params": self.network.parameters()}])


def check_readable(protocol: EvaluationProtocol, sets: int) -> None:
    """Refuse to score what the network does not have.

    Raises:
        DenseSiamError: the head is `main`, or `aux` with several sets of prototypes.
    """
    if protocol.head == "main" or (protocol.head == "aux" and sets > 1):
        raise DenseSiamError(
            f"protocol.head is {protocol.head} with {sets} sets of prototypes: expected merged, or aux with "
            "model.num_sets=1"
        )
