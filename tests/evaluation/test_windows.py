"""Sliding windows: they cover the image, and a network without context gives the same as in one pass."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from src.evaluation.windows import overlapping_step, ramp, sliding, window_starts, windowed
from tests.factories import images


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 0.9), st.sampled_from([1, 4, 32]))
def test_windows_cover_a_side_with_the_overlap(length: int, window: int, overlap: float, multiple: int) -> None:
    window = min(length, window)
    step = overlapping_step(window * multiple, overlap, multiple)
    starts = window_starts(length * multiple, window * multiple, step)
    assert starts[0] == 0
    assert starts[-1] == (length - window) * multiple
    assert all(start % multiple == 0 for start in starts)
    steps = [after - before for before, after in pairwise(starts)]
    assert all(0 < step <= max(multiple, window * multiple * (1 - overlap)) for step in steps)


def test_known_starts() -> None:
    assert window_starts(256, 128, overlapping_step(128, 0.25, 32)) == [0, 96, 128]
    assert window_starts(128, 128, overlapping_step(128, 0.25, 32)) == [0]


def test_weights_fall_towards_the_edges() -> None:
    assert ramp(4).tolist() == [0.25, 0.75, 0.75, 0.25]
    assert ramp(1).tolist() == [1.0]


def pooled(x: Tensor) -> Tensor:
    """A network of stride 4 without context."""
    return F.avg_pool2d(torch.cat([x, x.square()], 1), 4)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.9])
def test_without_context_windows_change_nothing(overlap: float) -> None:
    x, step = images(2, 3, 64, 96), overlapping_step(32, overlap, 8)
    assert torch.allclose(windowed(pooled, x, (32, 32), (step, step), ramp), pooled(x), atol=1e-6)


def test_each_pass_sees_one_window() -> None:
    sizes = []

    def spy(x: Tensor) -> Tensor:
        sizes.append(tuple(x.shape))
        return pooled(x)

    windowed(spy, images(1, 3, 64, 96), (32, 64), (32, 64), ramp)
    assert sizes == [(1, 3, 32, 64)] * 4


def sampled(x: Tensor) -> Tensor:
    """A network of stride 4 without context, whose corner cells lie on the corner pixels."""
    return torch.cat([x, x.square()], 1)[:, :, ::4, ::4]


@pytest.mark.parametrize("step", [4, 12, 32])
def test_windows_change_nothing_with_aligned_corners(step: int) -> None:
    x = images(2, 3, 65, 97)
    found = windowed(sampled, x, (33, 33), (step, step), ramp, align_corners=True)
    assert torch.allclose(found, sampled(x), atol=1e-6)


def naive_sliding(x: Tensor, window: int, stride: int, align_corners: bool) -> Tensor:
    """MMSegmentation's loop: windows from the left and from above, the last ones moved back into the image."""
    height, width = x.shape[2:]
    total, counted = torch.zeros(x.shape[0], 6, height, width), torch.zeros(height, width)
    for row in range(max(0, -(-(height - window) // stride)) + 1):
        for column in range(max(0, -(-(width - window) // stride)) + 1):
            bottom, right = min(row * stride + window, height), min(column * stride + window, width)
            top, left = max(bottom - window, 0), max(right - window, 0)
            part = sampled(x[:, :, top:bottom, left:right])
            whole = F.interpolate(part, (bottom - top, right - left), mode="bilinear", align_corners=align_corners)
            total[:, :, top:bottom, left:right] += whole
            counted[top:bottom, left:right] += 1
    return total / counted


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("size", "window", "stride"), [((40, 61), 17, 11), ((16, 50), 20, 13), ((12, 9), 33, 5)])
def test_sliding_equals_the_loop(size: tuple[int, int], window: int, stride: int, align_corners: bool) -> None:
    x = images(2, 3, *size)
    found = sliding(sampled, x, window, stride, align_corners)
    assert torch.allclose(found, naive_sliding(x, window, stride, align_corners), atol=1e-6)


def test_cityscapes_takes_eight_windows() -> None:
    """Of 1024 x 2048 pixels: two rows of four."""
    assert window_starts(1024, 769, 513) == [0, 255]
    assert window_starts(2048, 769, 513) == [0, 513, 1026, 1279]
