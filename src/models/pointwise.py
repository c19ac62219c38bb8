"""1x1 convolutions of maps in the layout channels_last, on a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A 1x1 convolution; on a CPU, that of a channels_last map is a matrix product of all its positions by oneDNN.

    With one thread, torch gives 1x1 convolutions of fewer than 16 images to MKL, which is slower on many processors.
    So each row of the map is given as an image.

    Args:
        x: (B, C, h, w).
        weight: (D, C, 1, 1).
        bias: (D,), or None.

    Returns:
        (B, D, h, w), in the layout of x.
    """
    if not lies_in_rows(x):
        return F.conv2d(x, weight, bias)
    return from_rows(F.conv2d(as_rows(x), weight, bias), x)


def lies_in_rows(x: Tensor) -> bool:
    """Whether a map is one of a CPU and channels_last, so that `as_rows` is a view."""
    return x.is_cpu and x.is_contiguous(memory_format=torch.channels_last)


def as_rows(x: Tensor) -> Tensor:
    """Each row of a map (B, C, h, w) as an image: (B x h, C, 1, w)."""
    return x.permute(0, 2, 3, 1).flatten(0, 1).unsqueeze(1).permute(0, 3, 1, 2)


def from_rows(rows: Tensor, like: Tensor) -> Tensor:
    """The map (B, D, h, w) whose rows are images (B x h, D, 1, w); `like` is a map with the same B, h and w."""
    batch, _, height, width = like.shape
    return rows.permute(0, 2, 3, 1).reshape(batch, height, width, -1).permute(0, 3, 1, 2)
