"""Reference methods without training: spherical k-means, also with more clusters than classes that are then merged."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from src.checks import check_int, check_made, check_text
from src.evaluation.protocol import EvaluationProtocol
from src.evaluation.scoring import Scoring
from src.metrics import Category
from src.models.merged import Grouping, Merging
from src.models.necks import PrincipalComponents
from src.models.prototypes import PrototypeNetwork
from src.tasks.base import Data
from src.tasks.pixels import PixelTask


def reduced(in_channels: Sequence[int], most: int, deepest: int) -> PrincipalComponents:
    """A frozen neck of at most `most` principal components, or as many as there are channels if these are fewer.

    Args:
        in_channels, deepest: see `PrincipalComponents`.
        most: number of components.
    """
    check_int("references.*.network.neck.most", most, low=1)
    check_int("references.*.network.neck.deepest", deepest, low=1)
    return PrincipalComponents(in_channels, min(most, sum(in_channels[-deepest:])), deepest, frozen=True)


class MergedClusters(PixelTask):
    """Prototypes from spherical k-means, merged to as many clusters as are scored, without any training.

    With as many prototypes as clusters, nothing is merged: this is spherical k-means. With several sets of prototypes,
    the probabilities of their merged clusters are averaged.

    Args:
        network: encoder, neck and prototypes.
        classes: the classes of the labels, for scoring only.
        protocol: how the predictions are scored; its `head` is not used.
        name: the name under which the scores are logged.
        label: the name of its row in the table of scores.
    """

    def __init__(
        self,
        network: PrototypeNetwork,
        classes: Sequence[Category],
        protocol: EvaluationProtocol,
        name: str,
        label: str,
    ) -> None:
        check_made("references.*.network", network, PrototypeNetwork, "references=features")
        check_text("references.*.label", label)
        super().__init__(Scoring(classes, network.num_categories, protocol.matching), protocol, name)
        self.label, self.network = label, network.requires_grad_(False)
        self.merging = Merging(network.num_categories, network.num_aux_categories, network.num_sets)

    @torch.no_grad()
    def prepare(self, data: Data, images: Iterable[Tensor] | None = None) -> None:
        super().prepare(data, images)
        if images is None:
            return
        self.eval()
        kept = list(images)
        self.network.fit_neck(kept)
        grouping = Grouping(self.merging, torch.Generator().manual_seed(0))
        for batch in kept:
            features = self.network.features(batch)
            grouping.add(features, self.network.prototypes(features))
        grouping.fit()

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to the logits (B, N, h, w) of merged clusters."""
        logits: Tensor = self.merging(self.network.prototypes(self.network.features(images)))
        return logits
