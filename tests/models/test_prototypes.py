"""Prototypes: logits are cosines, k-means gives their start, and several sets are computed as one."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from src.errors import DenseSiamError
from src.models.backbones import resnet
from src.models.necks import PrincipalComponents
from src.models.prototypes import PrototypeNetwork, Prototypes
from tests.factories import images, noise


def network(**changes: int | float) -> PrototypeNetwork:
    torch.manual_seed(0)
    values = {"num_categories": 3, "num_aux_categories": 6, "num_sets": 2, "temperature": 0.1} | changes
    encoder = resnet("resnet18", None, frozen=True, stages=2)
    return PrototypeNetwork(encoder, lambda channels: PrincipalComponents(channels, 8, frozen=True), **values)


def test_logits_are_cosines_of_projected_features_by_the_temperature() -> None:
    torch.manual_seed(0)
    head, features = Prototypes(channels=5, number=4, sets=3, temperature=0.2), noise(2, 5, 3, 6)
    with torch.no_grad():
        head.projection += noise(3, 5, 5, seed=1)
        head.points *= 7  # only directions count
    found = head(features)
    assert found.shape == (2, 12, 3, 6)
    for one in range(3):
        for category in range(4):
            moved = torch.einsum("dc,bchw->bdhw", head.projection[one], features)
            cosine = F.cosine_similarity(moved, head.points[one, category][None, :, None, None], dim=1)
            torch.testing.assert_close(found[:, 4 * one + category], cosine / 0.2)


def test_the_length_of_features_counts_nothing() -> None:
    head, features = Prototypes(channels=5, number=4, sets=1, temperature=0.1), noise(1, 5, 2, 2)
    torch.testing.assert_close(head(features), head(1000 * features))


def blobs(number: int) -> tuple[Tensor, Tensor]:
    """Rows (number, 6) around the directions of three axes, of any length, and the axis of each."""
    axis = torch.randint(3, (number,), generator=torch.Generator().manual_seed(0))
    lengths = 1 + 9 * torch.rand(number, 1, generator=torch.Generator().manual_seed(1))
    return lengths * (F.one_hot(axis, 6) + 0.05 * noise(number, 6, seed=2)), axis


def test_fitting_finds_directions_and_resets_the_projection() -> None:
    torch.manual_seed(0)
    head, (rows, axis) = Prototypes(channels=6, number=3, sets=2, temperature=0.1), blobs(300)
    with torch.no_grad():
        head.projection.zero_()
    head.fit(rows)
    assert torch.equal(head.projection, torch.eye(6).repeat(2, 1, 1))
    torch.testing.assert_close(head.points.norm(dim=2), torch.ones(2, 3))
    won = head(rows.T[None, :, :, None])[0, :, :, 0].view(2, 3, -1).argmax(1)
    for found in won:
        assert len(set(zip(axis.tolist(), found.tolist(), strict=True))) == 3


def test_sets_start_differently_and_as_the_seed_says() -> None:
    rows = noise(500, 6)

    def points(seed: int) -> Tensor:
        torch.manual_seed(seed)
        head = Prototypes(channels=6, number=8, sets=2, temperature=0.1)
        head.fit(rows)
        return head.points.detach()

    first = points(0)
    assert torch.equal(first, points(0))
    assert not torch.equal(first, points(1))
    assert not torch.equal(first[0], first[1])


def test_too_few_pixels_are_refused() -> None:
    with pytest.raises(DenseSiamError, match="expected at least 8 feature rows for 8 clusters, found 3"):
        Prototypes(channels=6, number=8, sets=1, temperature=0.1).fit(noise(3, 6))


def test_a_network_fits_its_neck_and_its_prototypes_on_the_same_images() -> None:
    found = network()
    given = [images(2, 3, 64, 64), images(1, 3, 64, 64)]
    found.fit_neck(iter(given))
    rows = torch.cat([found.features(each).movedim(1, 3).flatten(0, 2) for each in given])
    torch.testing.assert_close(rows.mean(0), torch.zeros(8), atol=1e-4, rtol=0)  # all pixels of so small maps are drawn
    nearest = (F.normalize(rows, dim=1) @ found.prototypes.points.detach().flatten(0, 1).T).view(-1, 2, 6).argmax(2)
    for points, each in zip(found.prototypes.points, nearest.T, strict=True):
        directions = F.normalize(rows, dim=1)
        means = torch.stack([directions[each == category].mean(0) for category in range(6)])
        assert (F.cosine_similarity(means, points) > 0.95).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_aux_categories": 2}, "model.num_aux_categories is 2"),
        ({"num_sets": 0}, "model.num_sets is 0"),
        ({"temperature": 0}, "model.temperature is 0"),
        ({"grid_size": 0}, "model.grid_size is 0"),
    ],
)
def test_what_can_not_be_is_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(DenseSiamError, match=message):
        network(**changes)
