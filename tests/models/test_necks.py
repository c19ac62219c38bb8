"""The simplified FPN against the release's decoder and by hand."""

import pytest
import torch

from src.models.necks import SimplifiedFPN
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
