"""From an image to a label map."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def mirror_averaged(logits: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Logits of images (B, 3, H, W), averaged with those of the mirrored images turned back: (B, N, h, w)."""
    return (logits(images) + logits(images.flip(-1)).flip(-1)) / 2


def predict_labels(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsample logits bilinearly, then take the winner at each pixel (the release's order).

    Args:
        logits: (B, N, h, w).
        size: height and width of the labels.

    Returns:
        (B, *size) int64 pseudo-categories, 0 to N - 1.
    """
    # One image at a time: a whole batch of upsampled logits would be the largest tensor of a run.
    upsampled = (F.interpolate(one[None].float(), size, mode="bilinear", align_corners=False) for one in logits)
    # As `argmax(1)`, in about half the time on a CPU.
    return torch.cat([one.max(1).indices for one in upsampled])
