"""PiCIE (Cho, Mall, Bala, Hariharan, CVPR 2021), with or without its auxiliary over-clustering head.

Each view is clustered separately. The features of a view learn to predict their own clusters (within) and those of the
other view at the same places (across); so they become invariant to colours and equivariant to crops. This file follows
the paper and its authors' code (janghyuncho/PiCIE): cosine similarity without a temperature, clusters weighted by their
*frequency*, k-means before each epoch, and new clusters for the final score.
"""

from typing import Any

import torch
from torch import Tensor

from src.baselines.clustered import ClusteredTask
from src.tasks.pairs import Embeddings


class PiCIE(ClusteredTask):
    """Clusters both views, with losses within and across them. See `ClusteredTask` for the arguments."""

    views, method = (0, 1), "picie"

    def compare(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], Embeddings]:
        """The mean of the loss within the views and the loss across them, for each head."""
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
        seen = [last.logits(one.detach(), 1).flatten(2).mT for one in features]  # the second view's clusters for both
        return losses, {"dense": (seen[0], seen[1])}
