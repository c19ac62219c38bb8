"""Categories of an over-clustering become fewer, without labels: average linkage, and sums of probabilities.

Symbols: S sets of M categories each, of the same images, are merged to N categories.
"""

import torch
import torch.nn.functional as F
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import pdist
from torch import Tensor

from src.errors import DenseSiamError

LEAST = 1e-30  # a probability below it counts as this much, so that its logarithm is finite


def linked_groups(centres: Tensor, number: int) -> Tensor:
    """Merge categories by average linkage: again and again the two groups with the largest mean cosine.

    The cosine is that of centres minus their mean. Centres of real features share a large common part; without
    subtracting it, all of them point into nearly the same direction.

    Args:
        centres: (M, C), one for each category: its prototype, or the mean of its features.
        number: N, how many groups remain, 1 to M.

    Returns:
        (M,) int64, the group of each category, 0 to N - 1, numbered by their first category.

    Raises:
        DenseSiamError: there are more groups than categories, or a centre is not finite.
    """
    if not 1 <= number <= len(centres):
        raise DenseSiamError(f"{len(centres)} categories can't be merged to {number}: expected 1 to {len(centres)}")
    values = centres.detach().double().cpu()
    if not values.isfinite().all():
        raise DenseSiamError("the centres of categories are not finite: check the checkpoint and the precision")
    if len(values) == 1:
        return torch.zeros(1, dtype=torch.int64)
    directions = F.normalize(values - values.mean(0), dim=1).numpy()
    # For vectors of length 1 or 0, half the squared distance is 1 - cosine, and 1/2 for a centre at the mean itself.
    tree = linkage(pdist(directions, "sqeuclidean") / 2, method="average")
    return torch.from_numpy(cut_tree(tree, n_clusters=[number])[:, 0]).long()


def merged_probabilities(logits: Tensor, groups: Tensor, number: int) -> Tensor:
    """The probabilities of groups: the softmax over the categories of a set, summed within each group.

    Args:
        logits: (B, S, M, ...) of the categories.
        groups: (S, M) int64, the group of each category, 0 to N - 1.
        number: N.

    Returns:
        (B, S, N, ...) float32.
    """
    membership = F.one_hot(groups, number).float()  # (S, M, N)
    with torch.autocast(logits.device.type, enabled=False):
        return torch.einsum("bsm...,smn->bsn...", logits.float().softmax(2), membership)


def merged_logits(logits: Tensor, groups: Tensor, number: int) -> Tensor:
    """Logarithms of the probabilities of groups, averaged over the sets, see `merged_probabilities`.

    Returns:
        (B, N, ...) float32; their softmax is the averaged probabilities.
    """
    return merged_probabilities(logits, groups, number).mean(1).clamp_min(LEAST).log()


def agreeing(groups: Tensor, logits: Tensor, number: int) -> Tensor:
    """Number the groups of all sets so that the same number means the same places.

    Each set is matched one to one to the mean of the sets before it, by the largest sum of soft intersections over
    unions (Hungarian method).

    Args:
        groups: (S, M) int64, the group of each category within its set, 0 to N - 1.
        logits: (R, S, M) of the categories at R places.
        number: N.

    Returns:
        (S, M) int64; the first set keeps its numbers.
    """
    probabilities = merged_probabilities(logits, groups, number).double()  # (R, S, N)
    mean, found = probabilities[:, 0], [groups[0]]
    for place in range(1, len(groups)):
        own = probabilities[:, place]
        shared = mean.T @ own
        union = mean.sum(0)[:, None] + own.sum(0) - shared
        _, partner = linear_sum_assignment((shared / union.clamp_min(LEAST)).cpu().numpy(), maximize=True)
        matched = torch.from_numpy(partner).to(groups.device)  # the group of this set for each number
        found.append(matched.argsort()[groups[place]])
        mean = mean + (own[:, matched] - mean) / (place + 1)
    return torch.stack(found)


def mean_features(features: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Features summed under the soft masks of categories, and the sums of these masks.

    Args:
        features: (B, C, ...); logits: (B, S, M, ...) at the same places.

    Returns:
        (S, M, C) and (S, M) float64: over several batches, the sum of the first by the sum of the second is each
        category's mean feature.
    """
    masks, values = logits.float().softmax(2).flatten(3), features.float().flatten(2)
    sums = torch.einsum("bsmp,bcp->smc", masks, values)
    return sums.double(), masks.double().sum((0, 3))
