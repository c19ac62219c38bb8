"""Resizing and cropping of images, and their conversion to tensors."""

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

CUT_BEYOND = 8  # an image whose longer side exceeds this multiple of its shorter side is cut before it is resized
SHOWN_BEYOND = 2  # the same for an image that is shown beside others


def centre_square(image: Image.Image) -> tuple[float, float, float]:
    """Left edge, top edge and side of the largest square in the centre, in pixels."""
    side = min(image.size)
    return (image.width - side) / 2, (image.height - side) / 2, side


def evaluation_crop(image: Image.Image, size: int, resample: Image.Resampling) -> Image.Image:
    """Resize the shorter side to `size`, then crop the centre square, as the release's `CocoEvalDataset` does."""
    resized = shorter_side_to(_without_ends(image, CUT_BEYOND), size, resample)
    left, top = round((resized.width - size) / 2), round((resized.height - size) / 2)
    return resized.crop((left, top, left + size, top + size))


def shorter_side_to(image: Image.Image, size: int, resample: Image.Resampling) -> Image.Image:
    """Resize the shorter side to `size` pixels; the longer side keeps the aspect ratio and is rounded down."""
    width, height = (size * side // min(image.size) for side in image.size)
    return image.resize((width, height), resample)


def to_show(image: Image.Image, longer: int) -> Image.Image:
    """Resize the longer side to `longer` pixels; an image over twice as long as wide is cut first."""
    return ImageOps.contain(_without_ends(image, SHOWN_BEYOND), (longer, longer), Image.Resampling.BICUBIC)


def _without_ends(image: Image.Image, beyond: int) -> Image.Image:
    """Cut the ends off a very long image: an image of 1 x 10000 pixels, resized as a whole, would fill the memory.

    Args:
        image: the image.
        beyond: the longer side is cut to this multiple of the shorter side.
    """
    longest = beyond * min(image.size)
    left, top = (max(0, side - longest) // 2 for side in image.size)
    return image.crop((left, top, image.width - left, image.height - top)) if left or top else image


def prepared(image: Image.Image, side: int | str, crop: bool, resample: Image.Resampling) -> Image.Image:
    """Resize and crop an image (or a label map) as `src.evaluation.protocol.EvaluationProtocol` defines it.

    Args:
        image: the image.
        side: shorter side in pixels, or "own" to keep the size.
        crop: whether to keep only the square in the centre.
        resample: filter of the resizing.
    """
    if side == "own":
        left, top, square = (int(value) for value in centre_square(image))
        return image.crop((left, top, left + square, top + square)) if crop else image
    return evaluation_crop(image, int(side), resample) if crop else shorter_side_to(image, int(side), resample)


def to_tensor(image: Image.Image) -> Tensor:
    """Convert an RGB image to a tensor (3, H, W) uint8."""
    return torch.from_numpy(np.array(np.asarray(image).transpose(2, 0, 1), order="C"))  # torch copies more slowly
