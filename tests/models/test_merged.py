"""The layer that merges an over-clustering, and how its groups are found over batches of images."""

import torch

from src.merging import merged_logits
from src.models.merged import Grouping, Merging
from tests.factories import noise


def two_kinds() -> tuple[torch.Tensor, torch.Tensor]:
    """Features (4, 6, 8, 8) of two kinds of pixels, and logits (4, 8, 8, 8) of two sets of 4 categories.

    In each set, two categories divide the pixels of a kind between them; the sets name them in another order.
    """
    kind = torch.randint(2, (4, 8, 8), generator=torch.Generator().manual_seed(0))
    part = torch.randint(2, (4, 8, 8), generator=torch.Generator().manual_seed(1))
    features = torch.where(kind[:, None] == 1, 1.0, -1.0) * noise(6, seed=3)[:, None, None] + 0.1 * noise(4, 6, 8, 8)
    category = 2 * kind + part
    sets = [torch.nn.functional.one_hot(each, 4).movedim(3, 1) for each in (category, 3 - category)]
    return features, 20.0 * torch.cat(sets, 1)


def test_categories_of_one_kind_are_merged_in_every_set_and_named_alike() -> None:
    features, logits = two_kinds()
    merging = Merging(2, 4, sets=2)
    grouping = Grouping(merging, torch.Generator().manual_seed(0))
    for part in (slice(1), slice(1, 4)):
        grouping.add(features[part], logits[part])
    grouping.fit()
    assert merging.current
    assert merging.groups.tolist() in ([[0, 0, 1, 1], [1, 1, 0, 0]], [[1, 1, 0, 0], [0, 0, 1, 1]])


def test_it_gives_the_logits_of_its_groups() -> None:
    merging, logits = Merging(2, 3, sets=2), noise(2, 6, 4, 5)
    merging.groups.copy_(torch.tensor([[0, 1, 1], [1, 0, 1]]))
    expected = merged_logits(torch.stack([logits[:, :3], logits[:, 3:]], 1), merging.groups, 2)
    torch.testing.assert_close(merging(logits), expected)
    assert merging(logits).shape == (2, 2, 4, 5)


def test_a_category_that_is_never_predicted_is_merged_too() -> None:
    features, logits = two_kinds()
    one = logits[:, :4].clone()
    one[:, 1] = -1e9
    merging = Merging(2, 4)
    Grouping(merging, torch.Generator().manual_seed(0)).add(features, one).fit()
    assert sorted(set(merging.groups[0].tolist())) == [0, 1]


def test_groups_are_saved_and_a_new_layer_has_none() -> None:
    merging = Merging(2, 3)
    assert not merging.current
    assert set(merging.state_dict()) == {"groups", "current"}
