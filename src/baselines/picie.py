"""PiCIE (Cho, Mall, Bala, Hariharan, CVPR 2021), without and with its auxiliary over-clustering head.

Invariance to colours and equivariance to crops are learned by clustering each view by itself, and by asking the
features of a view for their own clusters (within) and for those that the other view has at the same places (across).
Written after the paper and after what its authors' code (janghyuncho/PiCIE) computes: cosine similarity without a
temperature, clusters weighted by their *frequency*, k-means anew before each epoch, fresh clusters for the final score.
"""

from typing import Any

import torch
from torch import Tensor

from src.baselines.clustered import ClusteredTask
from src.tasks.pairs import Embeddings


class PiCIE(ClusteredTask):
    """Both views clustered, losses within and across them. See `ClusteredTask` for the arguments."""

    views, method = (0, 1), "picie"

    def compare(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], Embeddings]:
        """Half the loss within the views, half across, for each head."""
        features, valid = [self.at_points(batch, side) for side in self.views], batch["valid"]
        losses: dict[str, Tensor] = {}
        for head, centroids in self.heads.items():
            labels = self.labels(head, batch)
            terms = [
                self.weighted_mean(centroids.logits(one, place), labels[:, place], centroids.weights[place], valid)
                for one in features
                for place in range(len(self.views))
            ]
            losses[head] = torch.stack(terms).mean()  # two within, two across
        last = self.heads["main" if "main" in self.heads else "aux"]
        seen = [last.logits(one.detach(), 1).flatten(2).mT for one in features]  # by the same clusters
        return losses, {"dense": (seen[0], seen[1])}
