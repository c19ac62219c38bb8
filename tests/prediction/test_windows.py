"""Sliding windows: they cover the image, and a network without context gives the same as in one pass."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from src.prediction.windows import ramp, window_starts, windowed
from tests.factories import images


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 0.9), st.sampled_from([1, 4, 32]))
def test_windows_cover_a_side_with_the_overlap(length: int, window: int, overlap: float, multiple: int) -> None:
    window = min(length, window)
    starts = window_starts(length * multiple, window * multiple, overlap, multiple)
    assert starts[0] == 0
    assert starts[-1] == (length - window) * multiple
    assert all(start % multiple == 0 for start in starts)
    steps = [after - before for before, after in pairwise(starts)]
    assert all(0 < step <= max(multiple, window * multiple * (1 - overlap)) for step in steps)


def test_known_starts() -> None:
    assert window_starts(256, 128, 0.25, 32) == [0, 96, 128]
    assert window_starts(128, 128, 0.25, 32) == [0]


def test_weights_fall_towards_the_edges() -> None:
    assert ramp(4).tolist() == [0.25, 0.75, 0.75, 0.25]
    assert ramp(1).tolist() == [1.0]


def pooled(x: Tensor) -> Tensor:
    """A network of stride 4 without context."""
    return F.avg_pool2d(torch.cat([x, x.square()], 1), 4)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.9])
def test_without_context_windows_change_nothing(overlap: float) -> None:
    x = images(2, 3, 64, 96)
    assert torch.allclose(windowed(pooled, x, (32, 32), overlap, 8), pooled(x), atol=1e-6)


def test_each_pass_sees_one_window() -> None:
    sizes = []

    def spy(x: Tensor) -> Tensor:
        sizes.append(tuple(x.shape))
        return pooled(x)

    windowed(spy, images(1, 3, 64, 96), (32, 64), 0.0, 8)
    assert sizes == [(1, 3, 32, 64)] * 4
