"""Prediction in overlapping windows, for images that are too large for one pass of a network."""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def window_starts(length: int, window: int, overlap: float, multiple: int) -> list[int]:
    """Where windows begin along one side of an image, so that they cover it.

    Args:
        length, window: sides of the image and of a window in pixels, multiples of `multiple`; `window <= length`.
        overlap: the least part of a window that the next one overlaps, at least 0 and below 1.
        multiple: the starts are multiples of it.

    Returns:
        The starts, ascending; the first is 0 and the last is `length - window`.
    """
    step = max(multiple, math.floor(window * (1 - overlap) / multiple) * multiple)
    return [*range(0, length - window, step), length - window]


def ramp(size: int) -> Tensor:
    """Weights of the cells of a window along one side, (size,): they fall towards the edges and are above 0."""
    place = torch.arange(size) + 0.5
    return torch.minimum(place, size - place) / (size / 2)


def windowed(
    logits: Callable[[Tensor], Tensor], images: Tensor, window: tuple[int, int], overlap: float, multiple: int
) -> Tensor:
    """Weighted mean of the logits of overlapping windows.

    Args:
        logits: maps images (B, 3, height, width) of a window's size to logits (B, N, height / s, width / s), where the
            stride s divides `multiple`.
        images: (B, 3, H, W); the sides are multiples of `multiple` and at least those of a window.
        window: height and width of a window in pixels, multiples of `multiple`.
        overlap: see `window_starts`.
        multiple: windows begin at multiples of it.

    Returns:
        (B, N, H / s, W / s) float32. Only one window at a time is given to the network.
    """
    height, width = images.shape[2:]
    total, weights = torch.zeros(()), torch.zeros(())
    for top in window_starts(height, window[0], overlap, multiple):
        for left in window_starts(width, window[1], overlap, multiple):
            part = logits(images[:, :, top : top + window[0], left : left + window[1]]).float()
            if not total.dim():
                stride = window[0] // part.shape[2]
                total = part.new_zeros(*part.shape[:2], height // stride, width // stride)
                weights = part.new_zeros(height // stride, width // stride)
            rows = slice(top // stride, top // stride + part.shape[2])
            columns = slice(left // stride, left // stride + part.shape[3])
            weight = torch.outer(ramp(part.shape[2]), ramp(part.shape[3])).to(part)
            total[:, :, rows, columns] += part * weight
            weights[rows, columns] += weight
    return total / weights
