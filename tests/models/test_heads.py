"""Projectors and predictors: sizes of the release, order of the layers, rows of the region heads."""

import pytest
import torch
from torch import nn

from src.models.heads import RegionHead, predictor, projector


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_projector_is_the_releases() -> None:
    head = projector(128, 128, 27)
    kinds = [type(layer) for layer in head]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d, nn.BatchNorm2d]
    assert [layer.bias is not None for layer in (head[0], head[3], head[6])] == [False, False, True]
    assert [layer.affine for layer in (head[1], head[4], head[7])] == [True, True, False]
    assert parameters(head) == 36_763


def test_predictor_is_the_releases() -> None:
    head = predictor(27, 128)
    assert [type(layer) for layer in head] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d]
    assert [layer.bias is not None for layer in (head[0], head[3])] == [False, True]
    assert parameters(head) == 7_195


def test_auxiliary_and_region_heads_have_the_releases_size() -> None:
    assert parameters(projector(128, 128, 128)) == 49_792
    assert parameters(predictor(128, 128)) == 33_152
    regions = RegionHead(128, 128)
    assert parameters(regions.projector) == 49_664
    assert parameters(regions.predictor) == 33_152
    assert not regions.projector[7].affine


def test_heads_act_on_each_position_alone() -> None:
    head = nn.Sequential(projector(4, 6, 3), predictor(3, 6)).eval()
    images = torch.randn(2, 4, 3, 5)
    single = head(images[1:, :, 2:, 4:])
    torch.testing.assert_close(head(images)[1:, :, 2:, 4:], single)


def test_the_projectors_output_is_normalised_over_the_batch() -> None:
    """The last batch norm, which learns nothing, gives each channel mean 0 and variance 1; no ReLU follows."""
    found = projector(4, 16, 3)(5 + 2 * torch.randn(8, 4, 6, 6, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(found.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.var((0, 2, 3), correction=0), torch.ones(3), atol=1e-3, rtol=0)
    assert found.min() < -0.5


@pytest.mark.parametrize("mode", [True, False])
def test_region_rows_are_images_times_regions(mode: bool) -> None:
    head = RegionHead(4, 6).train(mode)
    embeddings = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    u, v = head(embeddings)
    assert u.shape == v.shape == (2, 5, 6)
    rows = torch.stack([embeddings[image, region] for image in range(2) for region in range(5)])
    expected = head.projector(rows)
    torch.testing.assert_close(v, torch.stack([expected[:5], expected[5:]]))
    expected = head.predictor(expected)
    torch.testing.assert_close(u, torch.stack([expected[:5], expected[5:]]))
