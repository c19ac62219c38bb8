"""What a user may give to `Segmenter.predict`: paths, PIL images, arrays and tensors."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from src.errors import DenseSiamError
from src.images.reading import open_image, to_rgb

MOST_ELONGATED = 32  # longer side / shorter side
SMALLEST = 8  # pixels of the shorter side


def as_list(given: Any) -> tuple[list[Any], bool]:
    """The images of a list, a tuple or a batch of four dimensions, or the only one; and whether it is the only one."""
    if isinstance(given, list | tuple):
        return list(given), False
    if isinstance(given, np.ndarray | Tensor) and given.ndim == 4:
        return list(given), False
    return [given], True


def as_image(given: Any) -> Image.Image:
    """An 8-bit RGB image of what a user gives.

    Args:
        given: a path; a PIL image; an array (H, W, 3), or (H, W) for grey; or a tensor (3, H, W), or (1, H, W) for
            grey. Arrays and tensors are uint8, or floats in [0, 1], which are rounded to 8 bits.

    Raises:
        UnreadableFileError: a file can't be read.
        DenseSiamError: the type, the shape or the values are others, or see `check_shape`.
    """
    if isinstance(given, str | os.PathLike):
        image = open_image(Path(given))
    elif isinstance(given, Image.Image):
        image = _of_pil(given)
    elif isinstance(given, Tensor):
        values = given.detach().cpu()
        if values.ndim != 3 or values.shape[0] not in (1, 3):
            raise DenseSiamError(f"found a tensor of shape {tuple(values.shape)}: expected (3, H, W), or (1, H, W)")
        image = _of_array(values.permute(1, 2, 0).numpy())
    elif isinstance(given, np.ndarray):
        image = _of_array(given)
    else:
        raise DenseSiamError(
            f"found an image of type {type(given).__name__}: expected a path, a PIL image, an array or a tensor"
        )
    check_shape(image.size)
    return image


def check_shape(size: tuple[int, int]) -> None:
    """Refuse images that are too small or too elongated to be segmented.

    Raises:
        DenseSiamError: the shorter side (of `size`, width and height) has fewer than `SMALLEST` pixels, or the longer
            side exceeds `MOST_ELONGATED` times the shorter.
    """
    width, height = size
    if min(size) < SMALLEST:
        raise DenseSiamError(f"it has {width} x {height} pixels: expected at least {SMALLEST} on the shorter side")
    if max(size) > MOST_ELONGATED * min(size):
        raise DenseSiamError(
            f"it has {width} x {height} pixels: expected a longer side of at most {MOST_ELONGATED} times the shorter"
        )


def _of_pil(given: Image.Image) -> Image.Image:
    """As `open_image` reads the file of such an image."""
    try:
        return to_rgb(ImageOps.exif_transpose(given), given.format)
    except (ValueError, OSError) as error:
        raise DenseSiamError(f"can't use the image ({error}): expected 8-bit values") from error


def _of_array(values: NDArray[Any]) -> Image.Image:
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3 or values.shape[2] not in (1, 3) or 0 in values.shape:
        raise DenseSiamError(f"found an array of shape {values.shape}: expected (H, W, 3), or (H, W)")
    if values.dtype != np.uint8:
        values = _eight_bits(values)
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3))))


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    if not np.issubdtype(values.dtype, np.floating):
        raise DenseSiamError(f"found values of type {values.dtype}: expected uint8, or floats in [0, 1]")
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # nan fails too
        raise DenseSiamError(f"found values from {low:g} to {high:g}: expected floats in [0, 1], or uint8")
    return (values * 255 + 0.5).astype(np.uint8)
