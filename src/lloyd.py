"""Lloyd's k-means on a sample, with starts that are compared on few rows, until it has converged."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from sklearn.cluster import kmeans_plusplus
from torch import Tensor

from src.winners import winners

STARTS = 3
START_ROWS, FIRST_ROWS, ROWS = 16, 256, 1000  # per cluster: of which a start is chosen, of a start, of the best start
ITERATIONS, TOLERANCE = 30, 1e-3


class Fitted(NamedTuple):
    """Centroids (N, C), and the sum of the squared distances of the rows to the nearest of them."""

    centroids: Tensor
    inertia: float


def fit_lloyd(rows: Tensor, num_clusters: int, generator: torch.Generator, spherical: bool = False) -> Tensor:
    """Fit k-means: the best of several starts on few rows, which then goes on with more rows.

    Args:
        rows: (M, C) float32, M >= num_clusters; of length 1 for spherical k-means.
        num_clusters: N.
        generator: source of randomness, on the CPU.
        spherical: whether centroids have length 1, so that the cosine decides (Dhillon and Modha, 2001).

    Returns:
        (N, C) centroids.
    """
    sample = rows[torch.randperm(len(rows), generator=generator)[: num_clusters * ROWS]]
    # Small differences between large values are then not lost in rounding.
    centre = torch.zeros(rows.shape[1]) if spherical else sample.mean(0)
    sample = sample - centre
    few = sample[: num_clusters * FIRST_ROWS]
    starts = (spread_start(few, num_clusters, generator) for _ in range(STARTS))
    best = min((iterate(few, start, generator, spherical) for start in starts), key=lambda fitted: fitted.inertia)
    if len(few) < len(sample):
        best = iterate(sample, best.centroids, generator, spherical)
    return best.centroids + centre


def spread_start(rows: Tensor, num_clusters: int, generator: torch.Generator) -> Tensor:
    """Rows that are far from each other (k-means++), out of some random ones: (N, C)."""
    some = rows[torch.randperm(len(rows), generator=generator)[: num_clusters * START_ROWS]]
    seed = int(torch.randint(2**31, (), generator=generator))
    return torch.from_numpy(kmeans_plusplus(some.numpy(), num_clusters, random_state=seed)[0])


def iterate(rows: Tensor, start: Tensor, generator: torch.Generator, spherical: bool = False) -> Fitted:
    """Move centroids (N, C) to the means of their rows (M, C) until the inertia falls by less than a thousandth.

    A centroid without rows moves to a random row. Those of spherical k-means are scaled to length 1.
    """
    centroids, inertia = start, float("inf")
    squares = rows.square().sum()
    for _ in range(ITERATIONS):
        # |x - c|^2 = |x|^2 - (2 c.x - |c|^2): the nearest centroid has the largest value in the brackets.
        near = torch.addmm(-centroids.square().sum(1), rows, centroids.T, alpha=2)
        nearest = winners(near)
        before, inertia = inertia, float(squares - near.gather(1, nearest[:, None]).sum())
        if before - inertia <= TOLERANCE * inertia:
            break
        counts = torch.bincount(nearest, minlength=len(centroids))
        sums = torch.zeros_like(centroids).index_add_(0, nearest, rows)
        others = rows[torch.randint(len(rows), (len(centroids),), generator=generator)]
        centroids = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], others)
        if spherical:
            centroids = F.normalize(centroids, dim=1)
    return Fitted(centroids, inertia)
