"""Measures of collapse: whether embeddings still differ from image to image, computed over each epoch.

A Siamese network can reach a low loss by giving the same embedding for every image. SimSiam (Chen and He 2021, section
4.1) detects this collapse by the standard deviation of the L2-normalised embeddings, which falls from 1 / sqrt(d) to 0.
If the network ends in a batch norm without affine, which rescales the remaining variation, the deviation falls less;
then the variation lies along one or two directions, which the effective rank shows.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

GOLDEN_SECTION = (math.sqrt(5) - 1) / 2


class Health(NamedTuple):
    """Measures of one branch over an epoch.

    Attributes:
        images: number of images.
        channels: d, the number of channels of the embeddings.
        spread: see `spread`.
        effective_rank: see `effective_rank`.
        category_entropy: see `histogram_entropy`; None if the channels are not pseudo-categories.
        dead_categories: number of pseudo-categories that are the argmax nowhere; None as for `category_entropy`.
    """

    images: int
    channels: int
    spread: float
    effective_rank: float
    category_entropy: float | None
    dead_categories: int | None


def spread(covariance: Tensor) -> float:
    """Mean standard deviation of the d dimensions x sqrt(d): 1 if all directions vary equally, 0 if all rows are equal.

    Args:
        covariance: (d, d), covariance of L2-normalised rows.
    """
    return (covariance.diagonal().clamp(min=0).sqrt().mean() * math.sqrt(len(covariance))).item()


def effective_rank(covariance: Tensor) -> float:
    """Effective rank (Roy and Vetterli 2007) of a covariance: exp(-sum_k p_k log p_k), p = eigenvalues / their sum.

    From 1 (one direction) to d (equal variance in all directions); 0 if there is no variance. Roy and Vetterli use
    singular values; here these are the eigenvalues of the covariance, that is, squared singular values of the centred
    rows.

    Args:
        covariance: (d, d), symmetric and, up to rounding, positive semidefinite.
    """
    spectrum = torch.linalg.eigvalsh(covariance).clamp(min=0)
    if not spectrum.any():
        return 0.0
    return torch.special.entr(spectrum / spectrum.sum()).sum().exp().item()


def histogram_entropy(counts: Tensor) -> float:
    """Entropy of the counts (N,) of N > 1 categories / log N: 1 if all counts are equal, 0 if only one is not 0."""
    shares = counts.double() / counts.sum()
    return (torch.special.entr(shares).sum() / math.log(len(counts))).item()


def even_rows(view: Tensor, limit: int) -> Tensor:
    """At most `limit` rows of a view (B, C) or (B, P, C), spread evenly over images and points, deterministically.

    The step between two rows is the golden section of the number of rows, adjusted to be coprime to it. A regular step
    could select the same few points in every image.
    """
    points = view[:, None] if view.dim() == 2 else view
    images, per_image, _ = points.shape
    rows = images * per_image
    step = max(1, round(rows * GOLDEN_SECTION))
    while math.gcd(step, rows) > 1:
        step += 1
    chosen = torch.arange(min(rows, limit), device=view.device) * step % rows
    return points[chosen // per_image, chosen % per_image]


class BranchStatistics:
    """Running moments of L2-normalised rows, and counts of the argmax over the channels. No row is kept.

    `add` does not wait for the device. It needs 2 n d^2 operations for n rows, and reads all embeddings once if the
    argmax is counted. With d = 2048, `add` of 256 rows takes 28 ms on one CPU core, and `health` takes 0.5 s.

    Args:
        channels: d, the number of channels.
        categorical: whether to count which channel is the argmax.
        device: device of the embeddings.
    """

    def __init__(self, channels: int, categorical: bool, device: torch.device) -> None:
        self.images, self.rows = 0, 0
        self.mean = torch.zeros(channels, device=device)
        self.scatter = torch.zeros(channels, channels, device=device)  # sum of (x - mean) (x - mean)^T
        self.wins = torch.zeros(channels, dtype=torch.int64, device=device) if categorical else None

    def add(self, views: Sequence[Tensor], rows_per_view: int) -> None:
        """Add the embeddings of a training step.

        Args:
            views: embeddings of both views of the same images, (B, C) or (B, P, C).
            rows_per_view: how many rows of each view the moments use at most; the argmax is counted in all rows.
        """
        self.images += len(views[0])
        rows = F.normalize(torch.cat([even_rows(view, rows_per_view) for view in views]).float(), dim=1)
        total, mean = self.rows + len(rows), rows.mean(dim=0)
        # Merged as in Chan, Golub and LeVeque (1979): a difference of large sums would lose a small variance.
        shift = mean - self.mean
        deviations = torch.cat((rows - mean, math.sqrt(self.rows * len(rows) / total) * shift[None]))
        self.scatter.addmm_(deviations.T, deviations)
        self.mean += shift * (len(rows) / total)
        self.rows = total
        if self.wins is not None:
            for view in views:
                winners = view.argmax(dim=-1).flatten()
                self.wins.scatter_add_(0, winners, torch.ones_like(winners))

    def health(self, summed: Callable[[Tensor], Tensor]) -> Health:
        """The measures of everything that was added in all processes.

        Args:
            summed: returns the sum of a tensor over the processes; it may change the tensor.
        """
        images, rows = summed(torch.tensor([self.images, self.rows], device=self.mean.device)).tolist()
        mean = summed(self.rows * self.mean) / rows
        shift = self.mean - mean
        covariance = (summed(self.scatter + self.rows * torch.outer(shift, shift)) / rows).cpu().double()
        wins = None if self.wins is None else summed(self.wins.clone()).cpu()
        return Health(
            images=images,
            channels=len(covariance),
            spread=spread(covariance),
            effective_rank=effective_rank(covariance),
            category_entropy=None if wins is None else histogram_entropy(wins),
            dead_categories=None if wins is None else int((wins == 0).sum()),
        )
