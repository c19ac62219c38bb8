"""Files for torchvision; tests/test_export.py loads them by the printed line."""

from pathlib import Path

import pytest

from src.formats import to_torchvision
from tests.formats.encoders import CONVNEXT, RESNET18, backbone
from tests.refusals import refusal


def test_weights_that_arrive_changed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made, original = backbone(RESNET18), to_torchvision.contents

    def spoiled(state: dict[str, object], *others: object) -> bytes:
        return original({**state, "layer4.1.bn2.bias": state["layer4.1.bn2.bias"] + 1e-3}, *others)

    monkeypatch.setattr(to_torchvision, "contents", spoiled)
    refusal(lambda: to_torchvision.write(made, Path("a.pth"), {}), "a.pth gives outputs that differ", "nothing was")


def test_encoders_of_timm_are_refused() -> None:
    pytest.importorskip("timm")
    made = backbone(CONVNEXT)
    refusal(lambda: to_torchvision.write(made, Path("a.pth"), {}), "found timm's convnext_atto", "choose format=timm")


@pytest.mark.parametrize(("name", "expected"), [("resnet50", "[False, True, True]"), ("resnet18", "can't dilate")])
def test_dilated_encoders_say_what_to_set(name: str, expected: str) -> None:
    written = to_torchvision.write(backbone({**RESNET18, "name": name, "output_stride": 8}), Path("a.pth"), {})
    assert [expected in line for line in written.lines if line.startswith("set output_stride")] == [True]
