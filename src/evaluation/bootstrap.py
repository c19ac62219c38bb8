"""95 % intervals of scores by the bootstrap over images: how much a score depends on the choice of the images.

Each draw takes as many images as there are, with replacement, sums their confusion matrices, matches the clusters again
(`identity` needs no matching) and computes the scores. So the interval covers the whole procedure. It reaches from the
2.5th to the 97.5th percentile of the draws (Efron's percentile bootstrap). It does not cover the spread over training
seeds. If the score is near chance, or there are few images for the number of classes, the matching overfits each draw,
and the interval can lie above the score.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from src.errors import DenseSiamError
from src.metrics import AnyMatching, Category, confusion_matrix, match, scores


class Interval(NamedTuple):
    """A score, or a difference of two scores, in percent, with its 95 % interval."""

    value: float
    low: float
    high: float


class ImageMatrices(NamedTuple):
    """The confusion matrix of each image.

    Attributes:
        counts: (images, C * N) numbers of pixels. Images are in order of their index; images without a counted pixel
            are left out.
        categories: the C classes.
        matching: how the N clusters are matched to the classes.
    """

    counts: csr_array
    categories: tuple[Category, ...]
    matching: AnyMatching

    def matrix(self, weights: NDArray[np.int64]) -> Tensor:
        """(C, N) sum of the images' matrices, each multiplied by its entry of `weights` (images,)."""
        flat = np.asarray(weights @ self.counts)
        return torch.from_numpy(flat.reshape(len(self.categories), -1))

    @property
    def total(self) -> Tensor:
        """(C, N) confusion matrix of all images."""
        return self.matrix(np.ones(self.counts.shape[0], np.int64))

    def counted(self) -> dict[str, Any]:
        """The number of scored `images` and the names of the `absent classes`, if any, for the printed protocol.

        A class is absent if no counted pixel has its label.
        """
        images = self.counts.shape[0]
        pixels = self.total.sum(dim=1).tolist()
        absent = [category.name for category, count in zip(self.categories, pixels, strict=True) if not count]
        return {"images": images, **({"absent classes": ", ".join(absent)} if absent else {})}

    def scores(self, weights: NDArray[np.int64]) -> dict[str, float]:
        """The scores of `matrix(weights)`, see `src.metrics.scores`."""
        matrix = self.matrix(weights)
        return scores(matrix, match(matrix, self.matching), self.categories)


class PerImage(Metric):
    """The confusion matrix of every image. The matrix of the whole set is their sum, so no pixel is counted twice."""

    full_state_update = False
    rows: list[Tensor]

    def __init__(self, categories: Sequence[Category], num_clusters: int, matching: AnyMatching) -> None:
        super().__init__()
        self.categories, self.num_clusters, self.matching = tuple(categories), num_clusters, matching
        self.add_state("rows", default=[], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        super().reset()
        # (k, 3): index of the image, cell of its matrix, number of pixels. The list is never empty, because a process
        # without images must take part in the gathering.
        self.rows.append(torch.zeros(0, 3, dtype=torch.int64, device=self.device))

    def update(self, prediction: Tensor, label: Tensor, index: Tensor) -> None:
        """Add images: `prediction` and `label` are (B, H, W), `index` (B,) are their indices in the data set."""
        for clusters, classes, number in zip(prediction, label, index, strict=True):
            matrix = confusion_matrix(classes, clusters, len(self.categories), self.num_clusters).flatten()
            cells = matrix.nonzero().flatten()
            self.rows.append(torch.stack([number.expand_as(cells), cells, matrix[cells]], dim=1))

    def compute(self) -> ImageMatrices:
        """The matrices of all images since the last reset, over all processes."""
        index, cells, pixels = dim_zero_cat(self.rows).cpu().numpy().T
        numbers, places = np.unique(index, return_inverse=True)
        shape = (len(numbers), len(self.categories) * self.num_clusters)
        counts = csr_array((pixels, (places, cells)), shape=shape)
        return ImageMatrices(counts, self.categories, self.matching)


def draws(images: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each image is in each resample: `resamples` arrays (images,), each with the sum `images`."""
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(generator.integers(images, size=images), minlength=images)


def bootstrap(matrices: ImageMatrices, resamples: int, seed: int = 0) -> dict[str, Interval]:
    """Every score with its interval.

    Args:
        matrices: confusion matrices of the images.
        resamples: number of draws; 1000 or more give stable intervals, 0 gives no intervals.
        seed: seed of the draws.
    """
    if not resamples:
        return {}
    images = matrices.counts.shape[0]
    everything = matrices.scores(np.ones(images, np.int64))
    drawn = [matrices.scores(weights) for weights in draws(images, resamples, seed)]
    return {name: percentile_interval(value, [one[name] for one in drawn]) for name, value in everything.items()}


def paired_difference(
    first: ImageMatrices, second: ImageMatrices, resamples: int, seed: int = 0
) -> dict[str, Interval]:
    """The difference `first` - `second` of every score, with an interval; each draw scores both on the same images.

    Images that are easy or hard for both runs cancel out, so the interval is narrower than those of the two scores
    suggest. If it contains 0, the difference is not significant on these images.

    Returns:
        Differences by the name of the score; empty if `resamples` is 0.

    Raises:
        DenseSiamError: the two were scored on different images or labels.
    """
    one, other = _class_pixels(first), _class_pixels(second)
    if first.categories != second.categories or not np.array_equal(one, other):
        raise DenseSiamError(
            f"the two were scored on {len(one)} and {len(other)} images, or on other labels: expected the same images "
            "under the same protocol"
        )
    if not resamples:
        return {}
    images = len(one)
    once = np.ones(images, np.int64)
    value = _differences(first.scores(once), second.scores(once))
    drawn = [_differences(first.scores(w), second.scores(w)) for w in draws(images, resamples, seed)]
    return {name: percentile_interval(value[name], [one[name] for one in drawn]) for name in value}


def _class_pixels(matrices: ImageMatrices) -> NDArray[np.int64]:
    """(images, C): pixels of each class in each image."""
    counts, classes = matrices.counts, len(matrices.categories)
    clusters = counts.shape[1] // classes
    rows, columns = counts.nonzero()
    totals = np.zeros((counts.shape[0], classes), np.int64)
    np.add.at(totals, (rows, columns // clusters), counts.data)
    return totals


def _differences(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    return {name: first[name] - second[name] for name in first}


def percentile_interval(value: float, drawn: Iterable[float]) -> Interval:
    """A value with the 2.5th and 97.5th percentile of the draws that are not nan; nan if there are none."""
    defined = [one for one in drawn if not math.isnan(one)]
    low, high = np.percentile(defined, (2.5, 97.5)) if defined else (math.nan, math.nan)
    return Interval(value, float(low), float(high))
