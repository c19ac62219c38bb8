"""Necks: the simplified FPN against the release's decoder and by hand, and what principal components start as."""

from collections.abc import Iterator
from functools import partial

import pytest
import torch

from src.errors import DenseSiamError
from src.models.backbones import resnet
from src.models.dense import DenseFeatures
from src.models.necks import PrincipalComponents, SimplifiedFPN, joined
from tests.conftest import Golden


@pytest.mark.parametrize("pyramid", ["even", "odd"])
def test_golden_decoder(golden: Golden, pyramid: str) -> None:
    """The release numbers its laterals from the coarsest map, we from the finest."""
    case = golden("fpn_decoder")
    neck = SimplifiedFPN([64, 128, 256, 512], 128)
    state = {
        f"laterals.{4 - layer}.{kind}": torch.from_numpy(case[f"w.layer{layer}.{kind}"])
        for layer in (1, 2, 3, 4)
        for kind in ("weight", "bias")
    }
    neck.load_state_dict(state, strict=True)
    found = neck([torch.from_numpy(case[f"{pyramid}.res{stage}"]) for stage in (2, 3, 4, 5)])
    expected = torch.from_numpy(case[f"{pyramid}.out_f64"]).float()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_one_map_is_one_convolution() -> None:
    neck = SimplifiedFPN([3], 5)
    level = torch.randn(2, 3, 4, 6)
    expected = torch.einsum("oc,bchw->bohw", neck.laterals[0].weight[:, :, 0, 0], level)
    expected = expected + neck.laterals[0].bias[:, None, None]
    torch.testing.assert_close(neck([level]), expected)


def test_levels_are_added_by_hand() -> None:
    """Weights 1, biases 0: a constant coarse map adds its value everywhere, a fine one where it is."""
    neck = SimplifiedFPN([1, 1, 1], 1)
    for lateral in neck.laterals:
        torch.nn.init.ones_(lateral.weight)
        torch.nn.init.zeros_(lateral.bias)
    fine = torch.arange(16.0).view(1, 1, 4, 4)
    found = neck([fine, torch.full((1, 1, 2, 2), 100.0), torch.full((1, 1, 1, 1), 1000.0)])
    torch.testing.assert_close(found, fine + 1100)


def test_the_number_of_maps_must_fit() -> None:
    with pytest.raises(ValueError, match="zip"):
        SimplifiedFPN([1, 1])([torch.zeros(1, 1, 2, 2)])


def pyramids(count: int = 2) -> list[list[torch.Tensor]]:
    """Batches of three images' maps: 4, 6 and 5 channels at 8, 4 and 2 cells."""
    generator = torch.Generator().manual_seed(0)
    sizes = ((4, 8), (6, 4), (5, 2))
    return [[torch.randn(3, width, side, side, generator=generator) for width, side in sizes] for _ in range(count)]


def test_joined_maps_have_length_one_each_at_the_finer_size() -> None:
    maps = pyramids()[0]
    found = joined(maps, deepest=2)
    assert found.shape == (3, 11, 4, 4)
    torch.testing.assert_close(found[:, :6].norm(dim=1), torch.ones(3, 4, 4))
    torch.testing.assert_close(found[:, 6:].norm(dim=1), torch.ones(3, 4, 4))
    torch.testing.assert_close(found[:, :6], torch.nn.functional.normalize(maps[1], dim=1))
    assert joined(maps, deepest=1).shape == (3, 5, 2, 2)
    assert joined(maps[2:], deepest=2).shape == (3, 5, 2, 2)


def test_principal_components_start_centred_and_uncorrelated() -> None:
    """Over the images that it was fitted on, each component has mean 0, and they are sorted by their variance."""
    neck = PrincipalComponents([4, 6, 5], channels=7, deepest=2)
    batches = pyramids(8)
    neck.fit(batches)
    with torch.no_grad():
        rows = torch.cat([neck(maps).permute(0, 2, 3, 1).reshape(-1, 7) for maps in batches])
    assert neck(batches[0]).shape == (3, 7, 4, 4)
    torch.testing.assert_close(rows.mean(0), torch.zeros(7), atol=1e-5, rtol=0)
    covariance = rows.T.cov()
    torch.testing.assert_close(covariance, covariance.diagonal().diag(), atol=1e-5, rtol=0)
    assert (covariance.diagonal().diff() <= 0).all()
    assert all(parameter.requires_grad for parameter in neck.parameters())


def test_frozen_components_stay() -> None:
    neck = PrincipalComponents([4, 6, 5], channels=7, frozen=True)
    neck.fit(pyramids(8))
    assert not any(parameter.requires_grad for parameter in neck.parameters())
    found = neck(pyramids()[0])
    assert found.shape == (3, 7, 4, 4)
    assert not found.requires_grad


def test_more_components_than_channels_are_refused() -> None:
    with pytest.raises(DenseSiamError, match="channels is 12: expected 1 to 11"):
        PrincipalComponents([4, 6, 5], channels=12, deepest=2)


def test_the_network_fits_its_neck_on_images_and_others_need_none() -> None:
    torch.manual_seed(0)
    images = [torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8) for _ in range(2)]
    network = DenseFeatures(resnet("resnet18", None, frozen=False), partial(PrincipalComponents, channels=8))
    statistics = {name: value.clone() for name, value in network.encoder.state_dict().items()}
    network.fit_neck(images)
    network.eval()
    with torch.no_grad():
        rows = torch.cat([network.features(batch).permute(0, 2, 3, 1).reshape(-1, 8) for batch in images])
    torch.testing.assert_close(rows.mean(0), torch.zeros(8), atol=1e-4, rtol=0)
    for name, value in network.encoder.state_dict().items():
        assert torch.equal(value, statistics[name]), name

    def unread() -> Iterator[torch.Tensor]:
        raise AssertionError("a pyramid network starts from random weights")
        yield

    DenseFeatures(resnet("resnet18", None, frozen=False), SimplifiedFPN).fit_neck(unread())
