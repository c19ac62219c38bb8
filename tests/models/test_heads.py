"""Projectors and predictors: sizes of the release, order of the layers, rows of the region heads."""

import pytest
import torch
from torch import nn

from src.losses import region_embeddings
from src.models.heads import ImageHead, RegionHead, layer_first, predictor, projector


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
@pytest.mark.parametrize(("size", "first"), [(2, True), (8, False)])
def test_region_rows_are_images_times_regions(mode: bool, size: int, first: bool) -> None:
    """Whether the first layer comes before the sum over the points or after it, the result is the same."""
    regions, width, channels = 9, 12, 6
    assert layer_first(regions, size * size, width, channels) is first
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, regions, size, size, generator=generator)
    features = torch.randn(2, width, size, size, generator=generator)
    head = RegionHead(width, channels).train(mode)
    u, v = head(z, features)
    assert u.shape == v.shape == (2, regions, channels)
    embeddings = region_embeddings(z, features)
    rows = torch.stack([embeddings[image, region] for image in range(2) for region in range(regions)])
    expected = head.projector(rows)
    torch.testing.assert_close(v, expected.view(2, regions, channels), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(u, head.predictor(expected).view(2, regions, channels), rtol=1e-4, atol=1e-5)


def test_the_first_layer_comes_first_where_it_multiplies_less() -> None:
    """512 regions of 7 x 7 points over 2048 channels, the paper's size, take a ninth; 27 of 80 x 80 are not cheaper."""
    assert layer_first(regions=512, points=49, width=2048, out=512)
    naive, early = 512 * 2048 * (49 + 512), 49 * 512 * (2048 + 512)
    assert naive / early == pytest.approx(9.16, abs=0.01)
    assert not layer_first(regions=27, points=6400, width=128, out=128)


def test_the_image_head_has_simsiams_shape() -> None:
    head = ImageHead(512, 2048, 512)
    shapes = [
        tuple(value.shape) for name, value in head.named_parameters() if name.endswith("weight") and value.ndim == 2
    ]
    assert shapes == [(2048, 512), (2048, 2048), (2048, 2048), (512, 2048), (2048, 512)]
    assert not head.projector[-1].affine
    p, z = head(torch.randn(4, 512, generator=torch.Generator().manual_seed(0)))
    assert p.shape == z.shape == (4, 2048)


def test_regions_take_the_precision_of_their_layers() -> None:
    head = RegionHead(4, 6).double()
    u, v = head(torch.randn(2, 3, 2, 2).double(), torch.randn(2, 4, 2, 2).double())
    assert u.dtype == v.dtype == torch.float64
