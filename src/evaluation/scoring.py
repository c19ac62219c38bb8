"""Predictions of one kind against labels: confusion matrices, scores and their intervals."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from src.errors import DenseSiamError
from src.evaluation.bootstrap import ImageMatrices, Interval, PerImage, bootstrap
from src.metrics import AnyMatching, Category, ClusterMatchMetric, named_iou


class Scored(NamedTuple):
    """One row of a table: scores in percent, and those intervals that were computed."""

    scores: Mapping[str, float]
    intervals: Mapping[str, Interval]


class Scoring(nn.Module):
    """Predictions of one kind against labels: their confusion matrices, whole and by image, and their scores.

    Args:
        classes: of the labels; none where there are no labels.
        num_clusters: that are predicted.
        matching: of clusters to classes.

    Attributes:
        scores: of the last validation, in percent; empty before the first.
        matrices: of each image of the last validation; None before the first.
    """

    def __init__(self, classes: Sequence[Category], num_clusters: int, matching: AnyMatching) -> None:
        super().__init__()
        self.classes, self.num_clusters, self.matching = tuple(classes), num_clusters, matching
        self.metric = ClusterMatchMetric(classes, num_clusters, matching)
        self.per_image = PerImage(classes, num_clusters, matching)
        self.scores: dict[str, float] = {}
        self.matrices: ImageMatrices | None = None

    def surplus(self) -> str:
        """What to say where one-to-one matching leaves clusters without a class; nothing elsewhere."""
        left = self.num_clusters - len(self.classes)
        if not self.classes or self.matching != "hungarian" or left <= 0:
            return ""
        return (
            f"{self.num_clusters} pseudo-categories for {len(self.classes)} classes: {left} match none, their pixels "
            f"count as wrong; model.num_categories={len(self.classes)} has one for each, protocol.matching=majority "
            "matches all"
        )

    def reset(self) -> None:
        """Forget what was counted; the last scores stay."""
        self.metric.reset()
        self.per_image.reset()

    def update(self, clusters: Tensor, label: Tensor, index: Tensor) -> None:
        """Count clusters (B, h, w) against labels (B, h, w) of the images with these numbers (B,)."""
        self.metric.update(clusters, label)
        self.per_image.update(clusters, label, index)

    def compute(self) -> dict[str, float]:
        """Scores without those of each class; a collective call.

        Raises:
            DenseSiamError: no pixel was counted.
        """
        summary = self.metric.compute()
        if not self.metric.total.any():
            raise DenseSiamError(
                "no pixel was scored: expected readable images whose labels are not 255 throughout; "
                "unreadable.txt in the run's folder names those that were skipped"
            )
        self.matrices = self.per_image.compute()
        self.scores = summary | named_iou(self.metric.total, self.metric.mapping, self.classes)
        return summary

    def scored(self, resamples: int) -> Scored:
        """The last scores with their bootstrap intervals, see `bootstrap`.

        Raises:
            RuntimeError: before the first validation.
        """
        if self.matrices is None:
            raise RuntimeError("nothing has been validated")
        return Scored(dict(self.scores), bootstrap(self.matrices, resamples))
