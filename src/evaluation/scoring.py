"""Compares the predictions of one kind with labels: confusion matrices, scores and their intervals."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from src.errors import DenseSiamError
from src.evaluation.bootstrap import ImageMatrices, Interval, PerImage, bootstrap
from src.metrics import AnyMatching, Category, match, named_iou, scores


class Scored(NamedTuple):
    """One row of a table: scores in percent, and the intervals that were computed."""

    scores: Mapping[str, float]
    intervals: Mapping[str, Interval]


class Scoring(nn.Module):
    """Counts the predictions of one kind against labels, in a confusion matrix for each image, and computes the scores.

    Only `compute` matches clusters to classes, on the sum of the matrices over the images of all processes.

    Args:
        classes: the classes of the labels; empty if there are no labels.
        num_clusters: number of clusters that are predicted.
        matching: how clusters are matched to classes.

    Attributes:
        scores: the scores of the last validation, in percent; empty before the first.
        matrices: the confusion matrix of each image of the last validation; None before the first.
        total: (C, N) the sum of these matrices, on the CPU; zeros before the first validation.
        mapping: (N,) the class of each cluster that the scores are computed with, on the CPU, see `match`.

    Raises:
        DenseSiamError: see `match`.
    """

    def __init__(self, classes: Sequence[Category], num_clusters: int, matching: AnyMatching) -> None:
        super().__init__()
        self.total = torch.zeros(len(classes), num_clusters, dtype=torch.int64)
        self.mapping = match(self.total, matching)  # numbers of classes and clusters that don't fit fail here already
        self.classes, self.num_clusters, self.matching = tuple(classes), num_clusters, matching
        self.per_image = PerImage(classes, num_clusters, matching)
        self.scores: dict[str, float] = {}
        self.matrices: ImageMatrices | None = None

    def surplus(self) -> str:
        """A remark if one-to-one matching leaves clusters without a class; otherwise ""."""
        left = self.num_clusters - len(self.classes)
        if not self.classes or self.matching != "hungarian" or left <= 0:
            return ""
        return (
            f"{self.num_clusters} pseudo-categories for {len(self.classes)} classes: {left} match none, their pixels "
            f"count as wrong; model.num_categories={len(self.classes)} has one for each, protocol.matching=majority "
            "matches all"
        )

    def reset(self) -> None:
        """Reset the counts; the last scores stay."""
        self.per_image.reset()

    def update(self, clusters: Tensor, label: Tensor, index: Tensor) -> None:
        """Count clusters (B, h, w) against labels (B, h, w); `index` (B,) holds the numbers of the images."""
        self.per_image.update(clusters, label, index)

    def compute(self) -> dict[str, float]:
        """Compute the scores; returns them without those of each class. All processes have to call it together.

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
            RuntimeError: there has been no validation yet.
        """
        if self.matrices is None:
            raise RuntimeError("nothing has been validated")
        return self.matrices

    def scored(self, resamples: int) -> Scored:
        """The last scores with their bootstrap intervals, see `bootstrap`.

        Raises:
            RuntimeError: there has been no validation yet.
        """
        return Scored(dict(self.scores), bootstrap(self.image_matrices(), resamples))
