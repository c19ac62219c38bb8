"""Files for `timm.create_model`, loaded by each of the printed lines and by what users type besides."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from src.formats import to_timm
from src.formats.agreement import normalised
from tests.factories import images
from tests.formats.encoders import CONVNEXT, HALF, LITE0, RESNET10T, RESNET18, VIT, backbone
from tests.refusals import refusal

timm = pytest.importorskip("timm")


def models(lines: list[str]) -> dict[str, nn.Module]:
    """The models that the lines of code in a summary make, by what precedes the code."""
    found = {}
    for line in lines:
        title, _, code = line.partition(": ")
        if code.startswith("import timm; "):
            names: dict[str, Any] = {}
            exec(code, names)
            found[title] = names["model"].eval()
    return found


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "config", [RESNET18, LITE0, RESNET10T, CONVNEXT, VIT], ids=["resnet18", "lite0", "resnet10t", "convnext", "vit"]
)
def test_timm_loads_the_file_by_every_printed_line(config: dict[str, Any], suffix: str, tmp_path: Path) -> None:
    made, output = backbone(config), tmp_path / f"a{suffix}"
    written = to_timm.write(made, output, {"densesiam.method": "Segment"})
    output.write_bytes(written.content)
    found = models(written.lines)
    assert found.keys() == {"the whole model", "with own classes", "elsewhere"}
    assert found["with own classes"].num_classes == 10
    pooled = timm.create_model(
        made.name, pretrained=True, pretrained_cfg_overlay=to_timm.overlay_of(str(output)), num_classes=0
    )
    assert pooled.num_classes == 0
    size = made.encoder.size or (64, 64)
    with torch.no_grad():
        inputs, expected = normalised(made.encoder, images(1, 3, *size)), made.encoder(images(1, 3, *size))
        for level, own in zip(found["elsewhere"](inputs), expected, strict=True):
            torch.testing.assert_close(level, own)
        whole = found["the whole model"].forward_intermediates(inputs, intermediates_only=True, norm=False)
        torch.testing.assert_close(whole[-1], expected[-1])
    assert to_timm.write(made, output, {"densesiam.method": "Segment"}).content == written.content


@pytest.mark.parametrize("config", [HALF, RESNET10T, VIT], ids=["half", "resnet10t", "vit"])
def test_the_backbone_alone_loads_as_features_only(config: dict[str, Any], tmp_path: Path) -> None:
    made, output = backbone(config), tmp_path / "a.pth"
    written = to_timm.write(made, output, {}, whole_model=False)
    output.write_bytes(written.content)
    assert written.record["untrained"] == []
    (model,) = models(written.lines).values()
    assert model.state_dict().keys() == made.state.keys()
    if config is RESNET10T:  # nothing but the backbone and a classifier
        assert timm.create_model("resnet10t", num_classes=0, checkpoint_path=str(output)).num_classes == 0


def test_what_was_not_trained_is_said() -> None:
    written = to_timm.write(backbone(LITE0), Path("a.pth"), {})
    assert {name.partition(".")[0] for name in written.record["untrained"]} == {"conv_head", "bn2", "classifier"}
    assert written.lines[0].startswith("not trained, with timm's initial values: bn2, classifier, conv_head (8 entries")


def test_the_initial_values_leave_the_random_state() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    to_timm.initial_values("resnet10t", {})
    assert torch.equal(torch.rand(1), expected)


def test_weights_that_arrive_changed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made, original = backbone(RESNET10T), to_timm.contents

    def spoiled(state: dict[str, Any], *others: Any) -> bytes:
        return original({**state, "bn1.bias": state["bn1.bias"] + 1}, *others)

    monkeypatch.setattr(to_timm, "contents", spoiled)
    refusal(lambda: to_timm.write(made, Path("a.pth"), {}), "a.pth gives outputs that differ by 1", "nothing was")


def test_without_timm_the_command_for_installing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    refusal(lambda: to_timm.write(backbone(RESNET18), Path("a.pth"), {}), "pip install 'densesiam[timm]'")
