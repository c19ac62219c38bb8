"""Modified DeepCluster (Caron et al., ECCV 2018, as Cho et al., CVPR 2021, apply it to pixels).

It runs k-means on the pixels of one view, and minimises the cross entropy of that view's features with their clusters.
The other view is not used.
"""

from typing import Any

from torch import Tensor

from src.baselines.clustered import ClusteredTask
from src.tasks.pairs import Embeddings

CLUSTERED = 0  # the crop, mirrored and coloured: the stronger augmentation


class DeepCluster(ClusteredTask):
    """Clusters one view. See `ClusteredTask` for the arguments."""

    views, method = (CLUSTERED,), "deepcluster"

    def compare(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], Embeddings]:
        """Cross entropy of the clustered view with its clusters, for each head."""
        features = self.at_points(batch, CLUSTERED)
        losses: dict[str, Tensor] = {}
        for head, centroids in self.heads.items():
            labels = self.labels(head, batch)[:, 0]
            losses[head] = self.weighted_mean(
                centroids.logits(features, 0), labels, centroids.weights[0], batch["valid"]
            )
        return losses, {}
