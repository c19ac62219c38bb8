"""The FCN against the published definition: its parameters, strides and shapes, and what is frozen."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from src.models.backbones import efficientnet_lite0, resnet
from src.models.encoder import Encoder
from src.models.fcn import FCN
from src.models.necks import DeepestMap
from tests.factories import images
from tests.refusals import refusal

PUBLISHED = {"channels": 512, "num_convs": 2, "concat_input": True, "aux_channels": 256, "dropout": 0.1}
SMALL = PUBLISHED | {"channels": 8, "aux_channels": 4}


def fcn(encoder: Encoder, num_classes: int = 19, **changes: Any) -> FCN:
    return FCN(encoder, DeepestMap, **({"num_classes": num_classes, "has_aux": True} | PUBLISHED | changes))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def conv(width: int, channels: int) -> int:
    """Parameters of a 3x3 convolution without bias and of its batch norm."""
    return 9 * width * channels + 2 * channels


def test_the_parameters_are_those_of_the_published_definition() -> None:
    """MMSegmentation's configs/_base_/models/fcn_r50-d8.py and decode_heads/fcn_head.py, counted by hand."""
    model = fcn(resnet("resnet50", None, False, output_stride=8))
    head = conv(2048, 512) + conv(512, 512) + conv(2048 + 512, 512) + (512 * 19 + 19)
    aux = conv(1024, 256) + (256 * 19 + 19)
    backbone = 25_557_032 - (2048 * 1000 + 1000)  # torchvision's published number, without its classifier
    assert (head, aux, backbone) == (23_605_779, 2_364_691, 23_508_032)
    assert model.aux_head is not None
    assert (count(model.head), count(model.aux_head), count(model.encoder)) == (head, aux, backbone)
    assert count(model) == head + aux + backbone == 49_478_502
    assert model.head.dropout.p == model.aux_head.dropout.p == 0.1
    assert isinstance(model.head.dropout, nn.Dropout2d)


def test_dilations_are_those_of_contract_dilation() -> None:
    """Strides 1, 2, 1, 1 and dilations 1, 1, 2, 4; the first block of a dilated stage has half, `contract_dilation`."""
    backbone = resnet("resnet50", None, False, output_stride=8).backbone
    found = {}
    for stage in (1, 2, 3, 4):
        convs = [each.conv2 for each in backbone.get_submodule(f"layer{stage}").children()]
        found[stage] = (convs[0].stride[0], convs[0].dilation[0], {each.dilation[0] for each in convs[1:]})
    assert found == {1: (1, 1, {1}), 2: (2, 1, {1}), 3: (1, 1, {2}), 4: (1, 2, {4})}


@pytest.mark.parametrize("make", [partial(resnet, "resnet18"), efficientnet_lite0])
@pytest.mark.parametrize(
    ("align_corners", "side", "expected"), [(False, 128, 16), (True, 129, 17), (True, 128, 17), (True, 133, 18)]
)
def test_maps_and_logits_have_stride_8(make: Any, align_corners: bool, side: int, expected: int) -> None:
    model = fcn(make(None, False, output_stride=8, align_corners=align_corners), **SMALL).eval()
    with torch.no_grad():
        logits = model.both(images(1, 3, side, side))
        assert {name: tuple(value.shape) for name, value in logits.items()} == {
            "main": (1, 19, expected, expected),
            "aux": (1, 19, expected, expected),
        }
        assert torch.equal(model(images(1, 3, side, side)), logits["main"])


@torch.no_grad()
def test_769_pixels_give_97_cells() -> None:
    encoder = resnet("resnet50", None, False, output_stride=8, align_corners=True).eval()
    assert [tuple(level.shape[2:]) for level in encoder(torch.zeros(1, 3, 769, 769))] == [(193,) * 2] + [(97,) * 2] * 3


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_torchvision_state_dict_loads(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, weights=None)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    model = fcn(resnet(name, str(tmp_path / "weights.pth"), False, output_stride=8), **SMALL)
    own = model.encoder.backbone.state_dict()
    state = {entry: value for entry, value in theirs.state_dict().items() if not entry.startswith("fc.")}
    assert own.keys() == state.keys()
    assert all(torch.equal(own[entry], value) for entry, value in state.items())


@pytest.mark.parametrize("frozen_stages", [None, 0, 1, 3])
def test_frozen_stages_neither_learn_nor_count(frozen_stages: int | None) -> None:
    model = fcn(resnet("resnet18", None, False, output_stride=8, frozen_stages=frozen_stages), **SMALL).train()
    torch.manual_seed(0)
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    sum(value.square().sum() for value in model.both(images(2, 3, 32, 32)).values()).backward()
    parts = [] if frozen_stages is None else ["conv1", "bn1", *(f"layer{i + 1}" for i in range(frozen_stages))]
    for name, parameter in model.encoder.backbone.named_parameters():
        assert (parameter.grad is None) == (name.split(".")[0] in parts), name
    moved = {name.split(".")[1] for name, value in model.encoder.state_dict().items() if not value.equal(before[name])}
    every = {"bn1", "layer1", "layer2", "layer3", "layer4"}  # statistics of batch norm
    assert moved == every - set(parts)


def test_without_an_auxiliary_head_there_is_one_output() -> None:
    model = fcn(resnet("resnet18", None, False), **SMALL, has_aux=False)
    assert model.aux_head is None
    assert list(model.both(images(2, 3, 32, 32))) == ["main"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 0}, "model.channels is 0"),
        ({"num_convs": 0}, "model.num_convs is 0"),
        ({"concat_input": 1}, "model.concat_input is 1"),
        ({"aux_channels": 2.0}, "model.aux_channels is 2.0"),
        ({"dropout": 1}, "model.dropout is 1: expected a finite number from 0 below 1"),
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    encoder = resnet("resnet18", None, False)
    refusal(lambda: fcn(encoder, **changes), message)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: resnet("resnet18", None, False, frozen_stages=5),
            "model.encoder.frozen_stages is 5: expected a whole",
        ),
        (lambda: resnet("resnet18", None, False, align_corners=1), "model.encoder.align_corners is 1"),
        (lambda: efficientnet_lite0(None, False, output_stride=4), "model.encoder.output_stride is 4: choose 8, 16 or"),
    ],
)
def test_values_of_encoders_are_refused(make: Any, message: str) -> None:
    refusal(make, message)
