"""Files for detectron2: its names and shapes, and the maps of a ResNet with these names."""

import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src.formats import to_detectron2
from src.formats.detectron2_resnet import expected_shapes
from tests.formats.encoders import HALF, LITE0, RESNET18, backbone
from tests.refusals import refusal

RESNET50 = {**RESNET18, "name": "resnet50"}
# Entries of detectron2's `R-50.pkl` and of its `build_resnet_backbone`.
KNOWN = {
    "stem.conv1.weight": (64, 3, 7, 7),
    "stem.conv1.norm.running_var": (64,),
    "res2.0.shortcut.weight": (256, 64, 1, 1),
    "res2.0.shortcut.norm.bias": (256,),
    "res2.0.conv1.weight": (64, 64, 1, 1),
    "res3.0.conv1.weight": (128, 256, 1, 1),
    "res4.5.conv2.weight": (256, 256, 3, 3),
    "res5.2.conv3.norm.running_mean": (2048,),
}


@pytest.mark.parametrize(("depth", "convolutions"), [(18, 20), (34, 36), (50, 53), (101, 104)])
def test_every_depth_has_its_number_of_entries(depth: int, convolutions: int) -> None:
    assert len(expected_shapes(depth, 4)) == 5 * convolutions
    assert len(expected_shapes(depth, 1)) < len(expected_shapes(depth, 2))


def test_known_names_and_shapes() -> None:
    shapes = expected_shapes(50, 4)
    assert {name: shapes[name] for name in KNOWN} == KNOWN
    shapes = expected_shapes(18, 4)
    assert "res2.0.shortcut.weight" not in shapes
    assert shapes["res3.0.shortcut.weight"] == (128, 64, 1, 1)
    assert shapes["res5.1.conv2.weight"] == (512, 512, 3, 3)


@pytest.mark.parametrize("config", [RESNET18, RESNET50, {**RESNET18, "stages": 3}], ids=["18", "50", "cut"])
def test_a_pickle_holds_plain_arrays(config: dict[str, Any]) -> None:
    made = backbone(config)
    written = to_detectron2.write(made, Path("a.pkl"), {"densesiam.method": "Segment"})
    loaded = pickle.loads(written.content, encoding="latin1")
    assert (loaded["__author__"], loaded["matching_heuristics"]) == ("densesiam", True)
    assert loaded["metadata"] == {"densesiam.method": "Segment"}
    assert all(type(value) is np.ndarray and value.flags.writeable for value in loaded["model"].values())
    np.testing.assert_array_equal(
        loaded["model"]["res3.0.shortcut.norm.running_var"], made.state["layer2.0.downsample.1.running_var"].numpy()
    )
    texts = [argument for _, argument, _ in pickletools.genops(written.content) if isinstance(argument, str)]
    assert "numpy" in texts
    assert not [text for text in texts if text.startswith("numpy.")]  # modules that other versions of numpy lack
    assert to_detectron2.write(made, Path("b.pkl"), {"densesiam.method": "Segment"}).content == written.content


@pytest.mark.parametrize("stride", [16, 8])
def test_dilated_encoders_are_written_and_say_so(stride: int) -> None:
    for name in ("resnet18", "resnet50"):
        written = to_detectron2.write(backbone({**RESNET18, "name": name, "output_stride": stride}), Path("a.pth"), {})
        assert any(f"output_stride={stride}; detectron2's ResNet has 32" in line for line in written.lines)


def test_the_lines_of_the_config() -> None:
    written = to_detectron2.write(backbone(RESNET18), Path("a.pkl"), {})
    assert written.record["config"] == {
        "INPUT.FORMAT": "RGB",
        "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
        "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
        "MODEL.RESNETS.DEPTH": 18,
        "MODEL.RESNETS.STRIDE_IN_1X1": False,
        "MODEL.RESNETS.RES2_OUT_CHANNELS": 64,
    }
    assert "set in detectron2's config: MODEL.RESNETS.STRIDE_IN_1X1: False" in written.lines
    cut = to_detectron2.write(backbone({**RESNET18, "stages": 2}), Path("a.pkl"), {})
    assert cut.record["config"]["MODEL.RESNETS.OUT_FEATURES"] == ["res2", "res3"]


def test_what_detectron2_lacks_is_refused() -> None:
    refusal(lambda: to_detectron2.write(backbone(HALF), Path("a.pkl"), {}), "padding=reflect", "format=torchvision")
    pytest.importorskip("timm")
    refusal(
        lambda: to_detectron2.write(backbone(LITE0), Path("a.pkl"), {}), "timm's tf_efficientnet_lite0", "format=timm"
    )


@pytest.mark.parametrize(
    "wrong",
    [{"downsample": "short_cut"}, {"layer4": "res4"}, {"bn1": "conv2.norm"}],
    ids=["unknown", "twice", "exchanged"],
)
def test_wrong_names_are_found(wrong: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        to_detectron2,
        "RENAMED",
        {**wrong, **{key: value for key, value in to_detectron2.RENAMED.items() if key not in wrong}},
    )
    refusal(
        lambda: to_detectron2.write(backbone(RESNET18), Path("a.pkl"), {}),
        "entries are not those of detectron2's ResNet-18",
        "nothing was written",
    )


def test_exchanged_weights_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    exchanged = {"layer1.0": "res2.1", "layer1.1": "res2.0"}  # the same shapes
    monkeypatch.setattr(to_detectron2, "RENAMED", {**exchanged, **to_detectron2.RENAMED})
    refusal(lambda: to_detectron2.write(backbone(RESNET18), Path("a.pkl"), {}), "gives outputs that differ")


def test_only_plain_arrays_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"model": {"a": Path("x")}}))
    with pytest.raises(pickle.UnpicklingError, match=r"found pathlib\."):
        to_detectron2.read(tmp_path / "a.pkl")
    torch.save({"model": {"a": torch.ones(1)}}, tmp_path / "a.pth")
    assert to_detectron2.read(tmp_path / "a.pth") == {"a": torch.ones(1)}
