"""What can be said of a segmentation without any label: whether two views agree, how sure they are, how much is used.

All of it is read off what a network says of the same places in two views of an image: of P places, logits (P, N) in
each view. None of it is a score: a network can agree with itself about what no class is. Whether one of them goes with
mIoU is measured by `scripts/rank_criteria.py`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from src.monitoring.collapse import histogram_entropy


class Criteria(NamedTuple):
    """What one branch gave in an epoch, each from 0 to 1; nan where N = 1, all but `consistency`.

    Attributes:
        consistency: see `consistency`.
        mutual_information: see `mutual_information`.
        entropy: mean over the places of both views, see `entropies`.
        balance: `histogram_entropy` of the winners of both views: 1 if all categories win alike, 0 if one wins always.
    """

    consistency: float
    mutual_information: float
    entropy: float
    balance: float


def joint_counts(first: Tensor, second: Tensor, counted: Tensor) -> Tensor:
    """How often category i won in one view and j at the same place of the other.

    Args:
        first, second: (P, N) logits of the same places.
        counted: (P,) bool, which places count.

    Returns:
        (N, N) int64, rows for the first view. Nothing waits for the device.
    """
    categories = first.shape[1]
    cells = first.argmax(dim=1) * categories + second.argmax(dim=1)
    counts = torch.zeros(categories**2, dtype=torch.int64, device=first.device)
    return counts.scatter_add_(0, cells, counted.long()).view(categories, categories)


def consistency(joint: Tensor) -> float:
    """Share of places at which both views have the same winner, 0 to 1; a collapsed network reaches 1.

    Args:
        joint: (N, N) counts, see `joint_counts`, at least one.
    """
    return (joint.trace().double() / joint.sum()).item()


def mutual_information(joint: Tensor) -> float:
    """Normalised mutual information of the winners of both views: I(first; second) / mean(H(first), H(second)).

    From 0 (they are independent: chance agrees as often) to 1 (each follows from the other). Strehl and Ghosh (2002),
    with the arithmetic mean, as scikit-learn's default. Where one category wins everywhere in a view there is nothing
    to share, and it is 0, whereas scikit-learn calls two such views perfectly alike.

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
    """Entropy of softmax over the categories / log N at each place: 0 if one is certain, 1 if all are equally likely.

    Args:
        logits: (P, N), N > 1.

    Returns:
        (P,) float32.
    """
    log_shares = logits.float().log_softmax(dim=1)
    return -(log_shares.exp() * log_shares).sum(dim=1) / math.log(logits.shape[1])


class PairStatistics:
    """What `Criteria` are made of, as steps come; no place is kept, and adding does not wait for the device.

    Args:
        categories: N.
        device: of the logits.
    """

    def __init__(self, categories: int, device: torch.device) -> None:
        self.joint = torch.zeros(categories, categories, dtype=torch.int64, device=device)
        self.places = torch.zeros((), dtype=torch.int64, device=device)
        self.entropy = torch.zeros((), device=device)  # mean over both views of all places so far

    def add(self, first: Tensor, second: Tensor, valid: Tensor) -> None:
        """Add what a step gave.

        Args:
            first, second: (B, P, N) logits of both views at the same places of B images.
            valid: (B,) bool; images whose views have no overlap, and thus no place in common, do not count.
        """
        one, other = first.flatten(0, 1), second.flatten(0, 1)
        counted = valid.to(one.device).repeat_interleave(first.shape[1], output_size=len(one))
        self.joint += joint_counts(one, other, counted)
        number = counted.sum()
        self.places += number
        # A running mean: a sum over an epoch would outgrow what float32 can add to.
        here = torch.where(counted, (entropies(one) + entropies(other)) / 2, 0).sum()
        self.entropy += (here - number * self.entropy) / self.places.clamp(min=1)

    def criteria(self, summed: Callable[[Tensor], Tensor]) -> Criteria | None:
        """What was added amounts to, over all processes; None without any place.

        Args:
            summed: adds a tensor up over the processes; it may write to the tensor.
        """
        joint = summed(self.joint.clone()).cpu()
        entropy = summed(self.entropy * self.places).cpu()
        places = int(joint.sum())
        if not places:
            return None
        return Criteria(
            consistency=consistency(joint),
            mutual_information=mutual_information(joint) if len(joint) > 1 else math.nan,
            entropy=entropy.item() / places,
            balance=histogram_entropy(joint.sum(dim=0) + joint.sum(dim=1)),
        )
