"""The segmentation network as a graph: for every batch and size, in ONNX and in torch's own format."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from src.formats import graph, to_onnx, to_torch_export
from src.formats.graph import Logits, chosen_heads, fix_padding, smallest_side
from tests.factories import images
from tests.formats.encoders import HALF, LITE0, VIT, network
from tests.refusals import refusal

METADATA = {"densesiam.method": "Segment", "densesiam.classes": '["a", "b"]'}


def test_fixed_padding_gives_the_same_maps() -> None:
    timm_layers = pytest.importorskip("timm.layers")
    model = Logits(network(LITE0), ["main", "aux"])
    with torch.no_grad():
        expected = model(images(1, 3, 70, 130))
        fix_padding(model)
        found = model(images(1, 3, 70, 130))
    assert not [one for one in model.modules() if isinstance(one, timm_layers.Conv2dSame)]
    assert all(torch.equal(found[head], expected[head]) for head in ("main", "aux"))
    assert expected["main"].std((2, 3)).min() > 0


def test_heads_are_chosen_by_name() -> None:
    model = network(HALF)
    assert chosen_heads(model, None) == ["main", "aux", "merged"]
    assert chosen_heads(model, "aux") == ["aux"]
    refusal(lambda: chosen_heads(model, "third"), "head is 'third': this network has main and aux and merged")


def test_sizes_that_are_compared_include_others_than_the_traced_one() -> None:
    model = network(HALF)
    assert smallest_side(model.encoder) == 12
    assert list(graph.compared(model.encoder)) == [(2, (16, 24)), (1, (16, 24)), (3, (32, 16)), (1, (13, 53))]
    pytest.importorskip("timm")
    assert list(graph.compared(network(VIT).encoder)) == [(2, (224, 224)), (1, (224, 224))]


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    refusal(lambda: to_onnx.write(network(HALF), None, Path("a.onnx"), {}), "pip install 'densesiam[onnx]'")


def test_what_torch_cannot_trace_is_one_line() -> None:
    model = network(HALF)
    model.heads["main"] = Branching()
    refusal(lambda: to_torch_export.write(model, "main", Path("a.pt2"), {}), "torch.export can't trace", "safetensors")


class Branching(nn.Module):
    """What a graph can't have: the operations depend on the values."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features if features.mean() > 0 else -features


@pytest.mark.slow
def test_onnx_has_any_size_the_metadata_and_no_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = network(HALF)
    written = to_onnx.write(model, None, tmp_path / "a.onnx", METADATA)
    made = onnx.load_from_string(written.content)
    onnx.checker.check_model(made)
    assert {entry.key: entry.value for entry in made.metadata_props} == METADATA
    assert str(Path(__file__).parents[2]).encode() not in written.content
    session = onnxruntime.InferenceSession(written.content, providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_outputs()] == ["main", "aux", "merged"]
    given = images(3, 3, 37, 90)
    for head in ("main", "merged"):
        with torch.no_grad():
            expected = model.logits(model.features(given), head)
        (found,) = session.run([head], {"images": given.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-5, rtol=1e-5)
        assert expected.std((2, 3)).min() > 1e-3
    monkeypatch.setattr(to_onnx, "traced", lambda *given: spoiled(graph.traced(*given)))
    refusal(lambda: to_onnx.write(model, "aux", Path("a.onnx"), {}), "a.onnx for images of 2 x 16 x 24 gives outputs")


@pytest.mark.slow
def test_torch_export_has_any_size_and_the_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    model, head = network(HALF), "merged"  # whose graph holds that of aux
    written = to_torch_export.write(model, head, Path("a.pt2"), {"method": "Segment"})
    assert b"site-packages" not in written.content
    assert str(Path(__file__).parents[2]).encode() not in written.content
    extra = {to_torch_export.EXTRA: ""}
    program = torch.export.load(io.BytesIO(written.content), extra_files=extra).module()
    assert json.loads(extra[to_torch_export.EXTRA]) == {"method": "Segment"}
    given = images(3, 3, 37, 90)
    with torch.no_grad():
        found, expected = program(given), model.logits(model.features(given), head)
    assert list(found) == [head]
    torch.testing.assert_close(found[head], expected, atol=1e-5, rtol=1e-5)
    assert to_torch_export.write(model, head, Path("b.pt2"), {"method": "Segment"}).content == written.content
    monkeypatch.setattr(to_torch_export, "traced", lambda *given: spoiled(graph.traced(*given)))
    refusal(lambda: to_torch_export.write(model, head, Path("a.pt2"), {}), "a.pt2 for images of 2 x 16 x 24 gives")


def spoiled(program: Any) -> Any:
    """A program whose first weight has changed."""
    next(iter(program.state_dict.values())).mul_(1.1)
    return program
