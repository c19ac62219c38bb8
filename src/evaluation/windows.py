"""Prediction in overlapping windows: of images that are too large for one pass, and as others compute scores."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def window_starts(length: int, window: int, step: int) -> list[int]:
    """Where windows begin along one side of an image, so that they cover it.

    Args:
        length, window: sides of the image and of a window in pixels; `window <= length`.
        step: pixels from one window to the next; the last one may be nearer.

    Returns:
        The starts, ascending; the first is 0 and the last is `length - window`.
    """
    return [*range(0, length - window, step), length - window]


def overlapping_step(window: int, overlap: float, multiple: int) -> int:
    """Pixels from one window to the next, a positive multiple of `multiple`.

    Args:
        window: side of a window in pixels.
        overlap: the least part of a window that the next one overlaps, at least 0 and below 1.
        multiple: windows begin at multiples of it.
    """
    return max(multiple, int(window * (1 - overlap) / multiple) * multiple)


def ramp(size: int) -> Tensor:
    """Weights of the cells of a window along one side, (size,): they fall towards the edges and are above 0."""
    place = torch.arange(size) + 0.5
    return torch.minimum(place, size - place) / (size / 2)


def even(size: int) -> Tensor:
    """Equal weights of the cells of a window along one side, (size,)."""
    return torch.ones(size)


def windowed(
    logits: Callable[[Tensor], Tensor],
    images: Tensor,
    window: Sequence[int],
    steps: Sequence[int],
    weights: Callable[[int], Tensor],
    align_corners: bool = False,
) -> Tensor:
    """Weighted mean of the logits of overlapping windows.

    Args:
        logits: maps images (B, 3, height, width) of a window's size to logits (B, N, height / s, width / s), or with
            `align_corners` to logits (B, N, (height - 1) / s + 1, ...). All windows have to begin at multiples of s.
        images: (B, 3, H, W), at least as large as a window.
        window: height and width of a window in pixels.
        steps: pixels from one window to the next, downwards and to the right, see `window_starts`.
        weights: the weights of the cells of a window along one side, given their number.
        align_corners: whether the corner cells of logits lie on the corner pixels of windows.

    Returns:
        (B, N, H / s, W / s) float32, with `align_corners` (B, N, (H - 1) / s + 1, ...). Only one window at a time is
        given to the network.
    """
    height, width = images.shape[2:]
    ends = int(align_corners)
    total, counted = torch.zeros(()), torch.zeros(())
    for top in window_starts(height, window[0], steps[0]):
        for left in window_starts(width, window[1], steps[1]):
            part = logits(images[:, :, top : top + window[0], left : left + window[1]]).float()
            if not total.dim():
                stride = max(1, (window[0] - ends) // max(1, part.shape[2] - ends))
                size = [(side - ends) // stride + ends for side in (height, width)]
                total, counted = part.new_zeros(*part.shape[:2], *size), part.new_zeros(*size)
            rows = slice(top // stride, top // stride + part.shape[2])
            columns = slice(left // stride, left // stride + part.shape[3])
            weight = torch.outer(weights(part.shape[2]), weights(part.shape[3])).to(part)
            total[:, :, rows, columns] += part * weight
            counted[rows, columns] += weight
    return total / counted


def sliding(
    logits: Callable[[Tensor], Tensor], images: Tensor, window: int, stride: int, align_corners: bool
) -> Tensor:
    """The logits of each pixel, averaged over the windows that hold it: MMSegmentation's `slide_inference`.

    Args:
        logits: maps images (B, 3, h, w) to logits of any smaller size.
        images: (B, 3, H, W).
        window: side of the windows in pixels; along a shorter side of the image, a window takes the whole side.
        stride: pixels from one window to the next.
        align_corners: whether the corner cells of logits lie on the corner pixels of windows.

    Returns:
        (B, N, H, W) float32.
    """

    def upsampled(part: Tensor) -> Tensor:
        size = (part.shape[2], part.shape[3])
        return F.interpolate(logits(part).float(), size, mode="bilinear", align_corners=align_corners)

    sides = [min(window, side) for side in images.shape[2:]]
    return windowed(upsampled, images, sides, (stride, stride), even)
