"""Metrics of a segmentation without labels: whether two views agree, how certain they are, which categories are used.

They are computed from logits (P, N) that a network gives at the same P places in each of two views of an image. They
are not scores: the predictions for both views can agree without following any class. `scripts/rank_label_free.py`
measures how well each metric predicts the mIoU.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from src.monitoring.collapse import histogram_entropy
from src.winners import winners


class LabelFreeMetrics(NamedTuple):
    """LabelFreeMetrics of one branch over an epoch, each from 0 to 1. If N = 1, all except `consistency` are nan.

    Attributes:
        consistency: see `consistency`.
        mutual_information: see `mutual_information`.
        entropy: mean over the places of both views, see `entropies`.
        balance: `histogram_entropy` of the predicted categories of both views: 1 if all categories are predicted
            equally often, 0 if only one is.
    """

    consistency: float
    mutual_information: float
    entropy: float
    balance: float


def joint_counts(first: Tensor, second: Tensor, counted: Tensor) -> Tensor:
    """Count how often category i is predicted in one view and category j at the same place of the other view.

    It does not wait for the device.

    Args:
        first, second: (P, N) logits at the same places of both views.
        counted: (P,) bool, whether a place counts.

    Returns:
        (N, N) int64; rows are categories of the first view.
    """
    categories = first.shape[1]
    cells = winners(first) * categories + winners(second)
    counts = torch.zeros(categories**2, dtype=torch.int64, device=first.device)
    return counts.scatter_add_(0, cells, counted.long()).view(categories, categories)


def consistency(joint: Tensor) -> float:
    """Fraction of places at which both views predict the same category, 0 to 1; a collapsed network reaches 1.

    Args:
        joint: (N, N) counts, see `joint_counts`, at least one.
    """
    return (joint.trace().double() / joint.sum()).item()


def mutual_information(joint: Tensor) -> float:
    """Normalised mutual information of the predictions for both views: I(first; second) / mean(H(first), H(second)).

    From 0 (the predictions are independent) to 1 (each determines the other). After Strehl and Ghosh (2002), with the
    arithmetic mean, which is scikit-learn's default. If a view has only one category, the result is 0; scikit-learn
    gives 1 if both views have only one.

    Args:
        joint: (N, N) counts, see `joint_counts`, at least one.
    """
    shares = joint.double() / joint.sum()
    apart = [torch.special.entr(shares.sum(dim=side)).sum() for side in (1, 0)]
    if min(apart) <= 0:
        return 0.0
    shared = apart[0] + apart[1] - torch.special.entr(shares).sum()
    return (shared / torch.stack(apart).mean()).clamp(0, 1).item()


def entropies(logits: Tensor) -> Tensor:
    """Entropy of the softmax / log N at each place: 0 if one category is certain, 1 if all are equally likely.

    Args:
        logits: (P, N), N > 1.

    Returns:
        (P,) float32.
    """
    log_shares = logits.float().log_softmax(dim=1)
    return -(log_shares.exp() * log_shares).sum(dim=1) / math.log(logits.shape[1])


class PairStatistics:
    """Running sums for `LabelFreeMetrics`. Logits are not kept, and `add` does not wait for the device.

    Args:
        categories: N, the number of categories.
        device: device of the logits.
    """

    def __init__(self, categories: int, device: torch.device) -> None:
        self.joint = torch.zeros(categories, categories, dtype=torch.int64, device=device)
        self.places = torch.zeros((), dtype=torch.int64, device=device)
        self.entropy = torch.zeros((), device=device)  # mean over both views of all places so far

    def add(self, first: Tensor, second: Tensor, valid: Tensor) -> None:
        """Add the logits of a training step.

        Args:
            first, second: (B, P, N) logits of both views at the same places of B images.
            valid: (B,) bool; images whose views do not overlap have no places in common and do not count.
        """
        one, other = first.flatten(0, 1), second.flatten(0, 1)
        counted = valid.to(one.device).repeat_interleave(first.shape[1], output_size=len(one))
        self.joint += joint_counts(one, other, counted)
        number = counted.sum()
        self.places += number
        # A running mean, because float32 could not add small terms to the sum of an epoch.
        here = torch.where(counted, (entropies(one) + entropies(other)) / 2, 0).sum()
        self.entropy += (here - number * self.entropy) / self.places.clamp(min=1)

    def metrics(self, summed: Callable[[Tensor], Tensor]) -> LabelFreeMetrics | None:
        """The metrics of everything that was added in all processes; None if no place counted.

        Args:
            summed: returns the sum of a tensor over the processes; it may change the tensor.
        """
        joint = summed(self.joint.clone()).cpu()
        entropy = summed(self.entropy * self.places).cpu()
        places = int(joint.sum())
        if not places:
            return None
        return LabelFreeMetrics(
            consistency=consistency(joint),
            mutual_information=mutual_information(joint) if len(joint) > 1 else math.nan,
            entropy=entropy.item() / places,
            balance=histogram_entropy(joint.sum(dim=0) + joint.sum(dim=1)),
        )
