"""An over-clustering whose categories are merged: the layer that is scored, deployed and exported."""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import DenseSiamError
from src.merging import agreeing, linked_groups, mean_features, merged_logits

ROWS_PER_IMAGE = 64  # places of each image at which sets are matched to each other


class Merging(nn.Module):
    """Maps the logits of S sets of M categories to those of N groups, see `src.merging`.

    Args:
        number: N.
        categories: M, at least N.
        sets: S.

    Attributes:
        groups: (S, M) int64, the group of each category; a buffer, which checkpoints hold.
        current: whether the groups were found for the present weights.

    Raises:
        DenseSiamError: when weights are loaded, see `check_groups`.
    """

    groups: Tensor
    current: Tensor

    def __init__(self, number: int, categories: int, sets: int = 1) -> None:
        super().__init__()
        self.number = number
        self.register_buffer("groups", torch.zeros(sets, categories, dtype=torch.int64))
        self.register_buffer("current", torch.tensor(False))
        self.register_load_state_dict_post_hook(check_groups)  # type: ignore[no-untyped-call]  # torch has no types here

    def forward(self, logits: Tensor) -> Tensor:
        """Map logits (B, S x M, ...) to logarithms of probabilities (B, N, ...) float32."""
        return merged_logits(torch.unflatten(logits, 1, self.groups.shape), self.groups, self.number)


def check_groups(merging: Merging, _: object) -> None:
    """Refuse groups that were loaded, possibly from a stranger's file, and that do not exist.

    Raises:
        DenseSiamError: a group is not a number from 0 to N - 1.
    """
    low, high = (int(end) for end in merging.groups.aminmax())
    if low < 0 or high >= merging.number:
        raise DenseSiamError(
            f"the checkpoint's merging.groups has numbers from {low} to {high}: expected groups from 0 to "
            f"{merging.number - 1}, which a run writes; don't trust the file"
        )


class Grouping:
    """Collects features and logits of images, and then finds the groups of a `Merging`.

    Args:
        merging: the layer whose groups are to be found.
        generator: source of randomness for places, on the CPU.
    """

    def __init__(self, merging: Merging, generator: torch.Generator) -> None:
        self.merging, self.generator = merging, generator
        self.sums, self.weights = torch.zeros(()), torch.zeros(())
        self.rows: list[Tensor] = []

    def add(self, features: Tensor, logits: Tensor) -> Self:
        """Add images: features (B, C, h, w) and logits (B, S x M, h, w) of the categories."""
        of_sets = torch.unflatten(logits, 1, self.merging.groups.shape)
        sums, weights = mean_features(F.normalize(features.float(), dim=1), of_sets)
        self.sums, self.weights = self.sums + sums, self.weights + weights
        flat = of_sets.flatten(3).movedim(3, 1).flatten(0, 1)  # (B x h x w, S, M)
        count = min(len(flat), ROWS_PER_IMAGE * len(features))
        self.rows.append(flat[torch.randperm(len(flat), generator=self.generator)[:count].to(flat.device)])
        return self

    def fit(self) -> None:
        """Find the groups: those of each set by average linkage of mean features, numbered alike in all sets.

        Raises:
            DenseSiamError: see `linked_groups`.
        """
        merging = self.merging
        means = self.sums / self.weights.clamp_min(torch.finfo(torch.float64).tiny)[:, :, None]
        groups = torch.stack([linked_groups(one, merging.number) for one in means])
        rows = torch.cat(self.rows)
        merging.groups.copy_(agreeing(groups.to(rows.device), rows, merging.number))
        merging.current.fill_(True)
