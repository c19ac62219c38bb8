"""The format of an export by its name and by the suffix of the file."""

import pytest

from src.formats.choice import format_of
from tests.refusals import refusal


@pytest.mark.parametrize(
    ("output", "given", "expected"),
    [
        ("a.pth", None, None),
        ("a.PT", None, None),
        ("a.safetensors", None, None),
        ("a.safetensors", "safetensors", None),
        ("a.safetensors", "timm", "timm"),
        ("a.pth", "torchvision", "torchvision"),
        ("a.pkl", None, "detectron2"),
        ("a.pth", "detectron2", "detectron2"),
        ("a.onnx", None, "onnx"),
        ("a.pt2", None, "torch_export"),
    ],
)
def test_the_suffix_chooses_unless_the_format_is_named(output: str, given: str | None, expected: str | None) -> None:
    assert format_of(output, given) == expected


@pytest.mark.parametrize(
    ("output", "given", "message"),
    [
        ("a.zip", None, ".pth, .pt, .safetensors, .pkl, .onnx or .pt2"),
        ("a.pth/", None, "expected the path of a file"),
        ("a.pth", "torch_export", "ends in .pt2 for format=torch_export"),
        ("a.onnx", "detectron2", "ends in .pkl or .pth for format=detectron2"),
        ("a.pth", "tensorflow", "format is 'tensorflow': choose one of torchvision, timm, detectron2"),
    ],
)
def test_other_files_are_refused(output: str, given: str | None, message: str) -> None:
    refusal(lambda: format_of(output, given), message)
