"""Merging of categories without labels: which go together, and what their probabilities become."""

import itertools

import pytest
import torch

from src.errors import DenseSiamError
from src.merging import agreeing, linked_groups, mean_features, merged_logits
from tests.naive import average_linkage


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("number", [1, 2, 5, 11, 12])
def test_average_linkage_is_that_of_a_loop(seed: int, number: int) -> None:
    centres = torch.randn(12, 6, generator=torch.Generator().manual_seed(seed)) + 20
    assert linked_groups(centres, number).tolist() == average_linkage(centres.tolist(), number)


def test_a_common_part_of_all_centres_changes_nothing() -> None:
    centres = torch.randn(16, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.equal(linked_groups(centres, 4), linked_groups(centres + 100, 4))


def test_one_category_and_centres_at_the_mean_are_merged_too() -> None:
    assert linked_groups(torch.ones(1, 3), 1).tolist() == [0]
    assert sorted(set(linked_groups(torch.ones(5, 3), 2).tolist())) == [0, 1]


@pytest.mark.parametrize("number", [0, 4])
def test_an_impossible_number_of_groups_is_refused(number: int) -> None:
    with pytest.raises(DenseSiamError, match=f"3 categories can't be merged to {number}: expected 1 to 3"):
        linked_groups(torch.eye(3), number)


def test_centres_that_are_not_finite_are_refused() -> None:
    with pytest.raises(DenseSiamError, match="not finite"):
        linked_groups(torch.full((3, 2), torch.nan), 2)


def test_probabilities_are_summed_within_groups() -> None:
    logits = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    groups = torch.tensor([1, 0, 1, 2, 0])
    found = merged_logits(logits[:, None], groups[None], 3).softmax(1)
    each = logits.softmax(1)
    for group, members in enumerate(([1, 4], [0, 2], [3])):
        torch.testing.assert_close(found[:, group], sum(each[:, one] for one in members))


def test_probabilities_of_sets_are_averaged() -> None:
    logits = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    groups = torch.tensor([[1, 0, 1, 2, 0], [0, 0, 1, 1, 2], [2, 2, 2, 1, 0]])
    found = merged_logits(logits, groups, 3).softmax(1)
    alone = [merged_logits(logits[:, [one]], groups[[one]], 3).softmax(1) for one in range(3)]
    torch.testing.assert_close(found, torch.stack(alone).mean(0))


def test_logits_so_far_apart_that_probabilities_vanish_stay_finite() -> None:
    logits = torch.tensor([[[0.0, -1e4, -1e4]]])
    found = merged_logits(logits, torch.tensor([[0, 1, 1]]), 2)
    assert found.isfinite().all()
    assert found.argmax(1).tolist() == [0]


def test_sets_that_differ_in_their_numbers_only_get_the_same_numbers() -> None:
    generator = torch.Generator().manual_seed(0)
    first = 5 * torch.randn(40, 6, generator=generator)
    groups = torch.tensor([0, 1, 1, 2, 3, 3])
    orders = [torch.randperm(6, generator=generator) for _ in range(3)]
    renamed = [torch.randperm(4, generator=generator) for _ in range(3)]
    sets = torch.stack([first, *(first[:, order] for order in orders)], dim=1)
    given = torch.stack([groups, *(names[groups[order]] for names, order in zip(renamed, orders, strict=True))])
    found = agreeing(given, sets, 4)
    assert found.tolist() == [groups.tolist(), *(groups[order].tolist() for order in orders)]


def test_sets_are_matched_by_the_best_of_all_permutations() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(30, 2, 5, generator=generator)
    groups = torch.tensor([[0, 1, 2, 0, 1], [2, 2, 1, 0, 0]])
    one, other = logits.softmax(2).unbind(1)

    def agreement(second: list[int]) -> float:
        total = 0.0
        for group in range(3):
            a = one[:, [m for m in range(5) if groups[0, m] == group]].sum(1)
            b = other[:, [m for m in range(5) if second[m] == group]].sum(1)
            total += float((a * b).sum() / (a.sum() + b.sum() - (a * b).sum()))
        return total

    choices = [[order[group] for group in groups[1].tolist()] for order in itertools.permutations(range(3))]
    assert agreeing(groups, logits, 3).tolist() == [groups[0].tolist(), max(choices, key=agreement)]


def test_a_single_set_keeps_its_groups() -> None:
    groups = torch.tensor([[0, 1, 0]])
    assert torch.equal(agreeing(groups, torch.zeros(2, 1, 3), 2), groups)


def test_mean_features_over_batches_are_those_of_all_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    features, logits = torch.randn(6, 4, 3, 3, generator=generator), torch.randn(6, 2, 5, 3, 3, generator=generator)
    parts = [mean_features(features[part], logits[part]) for part in (slice(2), slice(2, 6))]
    sums, weights = (sum(each) for each in zip(*parts, strict=True))
    masks = logits.softmax(2)
    for one in range(2):
        for category in range(5):
            mask = masks[:, one, category, None]
            expected = (features * mask).sum((0, 2, 3)) / mask.sum()
            torch.testing.assert_close((sums[one, category] / weights[one, category]).float(), expected)
