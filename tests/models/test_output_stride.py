"""ResNets that dilate instead of striding: finer maps of the same network."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from src.models.backbones import resnet
from tests.factories import images
from tests.refusals import refusal


@pytest.mark.parametrize(
    ("output_stride", "dilated"), [(16, (False, False, True)), (8, (False, True, True)), (4, (True, True, True))]
)
def test_a_bottleneck_resnet_is_torchvisions_dilated_one(output_stride: int, dilated: tuple[bool, ...]) -> None:
    torch.manual_seed(0)
    encoder = resnet("resnet50", None, False, output_stride=output_stride).eval()
    model = torchvision.models.resnet50(replace_stride_with_dilation=list(dilated)).eval()
    assert model.load_state_dict(encoder.backbone.state_dict(), strict=False).missing_keys == ["fc.weight", "fc.bias"]
    reference = create_feature_extractor(model, [f"layer{stage}" for stage in (1, 2, 3, 4)])
    batch = images(1, 3, 48, 64)
    with torch.no_grad():
        expected = reference((batch - encoder.mean) / encoder.std).values()
        for found, theirs in zip(encoder(batch), expected, strict=True):
            assert torch.equal(found, theirs)
            assert found.std() > 0.1


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@pytest.mark.parametrize("output_stride", [4, 8, 16])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_finer_maps_hold_those_of_the_strided_network(name: str, output_stride: int, padding: str) -> None:
    """Sides of 32 n + 1 pixels: the points of the coarse maps are then points of the finer ones, the last ones too.

    Given to the backbones alone, as an encoder would resize these sides.
    """
    torch.manual_seed(0)
    strided = resnet(name, None, False, padding=padding).eval().double()
    dilated = resnet(name, None, False, padding=padding, output_stride=output_stride).eval().double()
    dilated.load_state_dict(strided.state_dict())  # the same names and shapes
    batch = images(1, 3, 65, 97).double()
    with torch.no_grad():
        maps = (encoder.backbone((batch - encoder.mean) / encoder.std).values() for encoder in (dilated, strided))
        pairs = list(zip(*maps, strict=True))
    for (fine, coarse), stride in zip(pairs, strided.strides, strict=True):
        step = max(1, stride // output_stride)
        torch.testing.assert_close(fine[:, :, ::step, ::step], coarse)
        assert coarse.std() > 0.1


@pytest.mark.parametrize("output_stride", [4, 8, 16, 32])
@pytest.mark.parametrize("stages", [1, 2, 3, 4])
def test_no_map_is_coarser_than_the_output_stride(output_stride: int, stages: int) -> None:
    encoder = resnet("resnet18", None, False, stages, output_stride=output_stride).eval()
    assert encoder.strides == tuple(min(stride, output_stride) for stride in (4, 8, 16, 32)[:stages])
    with torch.no_grad():
        maps = encoder(images(1, 3, 64, 96))
    expected = [(1, 64 * 2**stage, 64 // stride, 96 // stride) for stage, stride in enumerate(encoder.strides)]
    assert [tuple(level.shape) for level in maps] == expected


def test_the_first_convolution_of_a_stage_takes_the_dilation_before_it() -> None:
    backbone = resnet("resnet18", None, False, output_stride=8).backbone
    dilations = {name: part.dilation[0] for name, part in backbone.named_modules() if isinstance(part, nn.Conv2d)}
    blocks = ("0.conv1", "0.conv2", "1.conv1", "1.conv2")
    found = [[dilations[f"layer{stage}.{block}"] for block in blocks] for stage in (2, 3, 4)]
    assert found == [[1, 1, 1, 1], [1, 2, 2, 2], [2, 4, 4, 4]]
    assert {dilations[f"layer{stage}.0.downsample.0"] for stage in (2, 3, 4)} == {1}


def test_weights_of_the_strided_network_fit(resnet18_file: Path) -> None:
    strided, dilated = (resnet("resnet18", str(resnet18_file), True, output_stride=value) for value in (32, 8))
    assert strided.state_dict().keys() == dilated.state_dict().keys()
    assert all(map(torch.equal, strided.state_dict().values(), dilated.state_dict().values()))


@pytest.mark.parametrize("output_stride", [0, 2, 12, 64])
def test_impossible_output_strides_are_refused(output_stride: int) -> None:
    message = f"output_stride is {output_stride}: choose 4, 8, 16 or 32"
    refusal(lambda: resnet("resnet18", None, False, output_stride=output_stride), message)
