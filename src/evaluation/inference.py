"""Prediction of label maps from images."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from src.evaluation.protocol import EvaluationProtocol
from src.evaluation.windows import sliding
from src.winners import winners


def protocol_logits(
    logits: Callable[[Tensor], Tensor], images: Tensor, protocol: EvaluationProtocol, align_corners: bool = False
) -> Tensor:
    """The logits of images as a protocol wants them: with mirror images, in windows.

    Args:
        logits: maps images (B, 3, H, W) to logits (B, N, h, w).
        images: (B, 3, H, W).
        protocol: the protocol.
        align_corners: whether the corner cells of logits lie on the corner pixels of images.

    Returns:
        (B, N, h, w); in windows, (B, N, H, W).
    """

    def averaged(part: Tensor) -> Tensor:
        return mirror_averaged(logits, part) if protocol.flip else logits(part)

    if not protocol.window:
        return averaged(images)
    return sliding(averaged, images, protocol.window, protocol.stride, align_corners)


def mirror_averaged(logits: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The mean of the logits of images and of their mirror images, the latter mirrored back.

    Args:
        logits: maps images (B, 3, H, W) to logits (B, N, h, w).
        images: (B, 3, H, W).

    Returns:
        (B, N, h, w).
    """
    return (logits(images) + logits(images.flip(-1)).flip(-1)) / 2


def predict_labels(logits: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Upsample logits bilinearly, then take the argmax at each pixel (the order of the release).

    Args:
        logits: (B, N, h, w).
        size: height and width of the labels.
        align_corners: whether the corner cells of the logits lie on the corner pixels of the labels.

    Returns:
        (B, *size) int64 pseudo-categories, 0 to N - 1.
    """
    # One image at a time, because the upsampled logits of a whole batch would be the largest tensor of a run. In this
    # memory format, the interpolation takes a third of the time on a CPU, and the argmax a fifth.
    single = (one[None].float().contiguous(memory_format=torch.channels_last) for one in logits)
    upsampled = (F.interpolate(one, size, mode="bilinear", align_corners=align_corners) for one in single)
    return torch.cat([winners(one) for one in upsampled])
