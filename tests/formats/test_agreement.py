"""A file that gives something else than the checkpoint is refused."""

import pytest
import torch
from torch import Tensor

from src.formats.agreement import check_same, loaded, readable
from tests.refusals import refusal

ONES = torch.ones(2, 3)


def test_small_differences_pass() -> None:
    check_same([ONES, 1000 * ONES], [ONES + 9e-6, 1000 * ONES + 9e-3], "a.onnx")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (ONES + 2e-5, "a.onnx gives outputs that differ by 2"),
        (ONES * float("nan"), "differ by nan"),
        (ONES[:, :2], "a.onnx gives outputs of [(2, 2)]: expected [(2, 3)]"),
    ],
)
def test_larger_ones_and_other_shapes_are_refused(found: Tensor, message: str) -> None:
    refusal(lambda: check_same([ONES], [found], "a.onnx"), message, "nothing was written")


def test_files_to_check_are_removed() -> None:
    with readable(b"x", "a.pth") as path:
        assert path.read_bytes() == b"x"
    assert not path.parent.exists()
    refusal(lambda: loaded(lambda: {}["a"], "timm"), "timm can't load the exported file", "nothing was written")
