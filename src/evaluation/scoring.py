"""Predictions of one kind against labels: confusion matrices, scores and their intervals."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from src.errors import DenseSiamError
from src.evaluation.bootstrap import ImageMatrices, Interval, PerImage, bootstrap
from src.metrics import AnyMatching, Category, match, named_iou, scores


class Scored(NamedTuple):
    """One row of a table: scores in percent, and those intervals that were computed."""

    scores: Mapping[str, float]
    intervals: Mapping[str, Interval]


class Scoring(nn.Module):
    """Predictions of one kind against labels: the confusion matrix of each image, and their scores.

    Clusters are matched in `compute` only, on the sum over the images of all processes.

    Args:
        classes: of the labels; none where there are no labels.
        num_clusters: that are predicted.
        matching: of clusters to classes.

    Attributes:
        scores: of the last validation, in percent; empty before the first.
        matrices: of each image of the last validation; None before the first.
        total: (C, N) their sum, on the CPU; zeros before the first.
        mapping: (N,) cluster -> class behind the scores, on the CPU, see `match`.

    Raises:
        DenseSiamError: see `match`.
    """

    def __init__(self, classes: Sequence[Category], num_clusters: int, matching: AnyMatching) -> None:
        super().__init__()
        self.total = torch.zeros(len(classes), num_clusters, dtype=torch.int64)
        self.mapping = match(self.total, matching)  # numbers that do not fit together fail here, not after an epoch
        self.classes, self.num_clusters, self.matching = tuple(classes), num_clusters, matching
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
        self.per_image.reset()

    def update(self, clusters: Tensor, label: Tensor, index: Tensor) -> None:
        """Count clusters (B, h, w) against labels (B, h, w) of the images with these numbers (B,)."""
        self.per_image.update(clusters, label, index)

    def compute(self) -> dict[str, float]:
        """Scores without those of each class; a collective call.

        Raises:
            DenseSiamError: no pixel was counted.
        """
        matrices = self.per_image.compute()
        if not matrices.total.any():
            raise DenseSiamError(
                "no pixel was scored: expected readable images whose labels are not 255 throughout; images that were "
                "skipped, if there are any, are named in unreadable.txt in the run's folder"
            )
        self.matrices, self.total = matrices, matrices.total
        self.mapping = match(self.total, self.matching)
        summary = scores(self.total, self.mapping, self.classes)
        self.scores = summary | named_iou(self.total, self.mapping, self.classes)
        return summary

    def image_matrices(self) -> ImageMatrices:
        """The confusion matrix of each image of the last validation.

        Raises:
            RuntimeError: before the first validation.
        """
        if self.matrices is None:
            raise RuntimeError("nothing has been validated")
        return self.matrices

    def scored(self, resamples: int) -> Scored:
        """The last scores with their bootstrap intervals, see `bootstrap`.

        Raises:
            RuntimeError: before the first validation.
        """
        return Scored(dict(self.scores), bootstrap(self.image_matrices(), resamples))
