"""Images and label maps as they are displayed: their choice, size, colours and names."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from src.drawing.colours import index_image
from src.evaluation.protocol import EvaluationProtocol
from src.images.resizing import CUT_BEYOND, prepared

SIDE = 320  # largest shorter side of a shown photograph, in pixels


def evenly(values: Sequence[int], count: int) -> list[int]:
    """At most `count` values, evenly spread, the first and the last among them."""
    if len(values) <= count:
        return list(values)
    return [values[round(place)] for place in np.linspace(0, len(values) - 1, count).tolist()]


def photograph(images: Any, protocol: EvaluationProtocol, index: int) -> Image.Image:
    """A labelled image for display: the part that is scored, in the resolution of the file up to `SIDE`."""
    image = images.image(index)
    return prepared(image, min(SIDE, *image.size), protocol.crop, Image.Resampling.BILINEAR)


def whole(image: Image.Image, protocol: EvaluationProtocol | None, largest: int) -> Image.Image:
    """A training image, whole unless it is very long, with the shorter side of the protocol or of at most `largest`."""
    own = protocol is None or protocol.side == "own"
    side = min(largest, *image.size) if protocol is None or own else int(protocol.side)
    long = max(image.size) > CUT_BEYOND * min(image.size)
    return prepared(image, side, long, Image.Resampling.BILINEAR)


def picture(labels: Tensor, colours: NDArray[np.uint8], like: Image.Image) -> Image.Image:
    """A label map (h, w) as large as a picture, in colours (N + 1, 3); the last colour is for all other values."""
    last = len(colours) - 1
    values = torch.where((labels >= 0) & (labels < last), labels, last).numpy().astype(np.uint8)
    return index_image(values, colours).resize(like.size, Image.Resampling.NEAREST)


def short_names(names: Sequence[str]) -> list[str]:
    """Names of images without the folder that all of them share."""
    folder = os.path.commonpath([os.path.dirname(name) for name in names]) if names else ""
    return [os.path.relpath(name, folder) if folder else name for name in names]
