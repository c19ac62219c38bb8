"""Image sizes that a backbone takes, so that its maps cover the whole image and nothing else.

Everything that reads a map takes it to cover exactly the image, see `src.geometry`. A backbone that pads an image to
whole cells gives maps which cover more, so that every place read from them is wrong.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.checkpoints.reading import first_line
from src.errors import DenseSiamError


def nearest_multiple(side: int, multiple: int) -> int:
    """The multiple of a number that is nearest to a side in pixels, at least the number; of two the larger."""
    return max(1, (side + multiple // 2) // multiple) * multiple


def resized(images: Tensor, multiple: int) -> Tensor:
    """Resize floating images (B, C, H, W), bilinearly with antialiasing, unless both sides are multiples already."""
    size = (nearest_multiple(images.shape[2], multiple), nearest_multiple(images.shape[3], multiple))
    if size == tuple(images.shape[2:]):
        return images
    return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)


def maps_of(backbone: nn.Module, images: Tensor, channels_last: bool) -> list[Tensor]:
    """The maps of a backbone, whether it gives a list or a dict of them, as (B, C_i, H_i, W_i)."""
    given = backbone(images)
    maps = given.values() if isinstance(given, dict) else given
    return [level.permute(0, 3, 1, 2) if channels_last else level for level in maps]


@torch.no_grad()
def only_size(
    backbone: nn.Module,
    channels: Sequence[int],
    strides: Sequence[int],
    channels_last: bool,
    native: tuple[int, int],
    name: str,
) -> tuple[int, int] | None:
    """Try a backbone on blank images: the one size that it takes, or None if it takes all multiples of its strides.

    Args:
        backbone: in evaluation mode.
        channels, strides, channels_last: of its maps, see `src.models.encoder.Encoder`.
        native: height and width that it was made for.
        name: of the backbone, for the messages.

    Raises:
        DenseSiamError: it takes no RGB image of its native size; its maps don't cover the image.
    """
    cell = math.lcm(*strides)
    any_size = (2 * cell, 3 * cell)
    for size in (any_size, native):
        try:
            maps = maps_of(backbone, torch.zeros(1, 3, *size), channels_last)
        except (AssertionError, RuntimeError, ValueError) as error:  # what timm and torch raise for a wrong size
            if size == native:
                raise DenseSiamError(
                    f"{name} does not run on an RGB image of {listed(size)} ({first_line(error)}): choose other "
                    "options in model.encoder, or another backbone"
                ) from error
            continue
        found = [tuple(level.shape[1:]) for level in maps]
        expected = [(width, *(side / stride for side in size)) for width, stride in zip(channels, strides, strict=True)]
        if found == expected:
            return None if size == any_size else native
    wrong, right = next((one, other) for one, other in zip(found, expected, strict=True) if one != other)
    raise DenseSiamError(
        f"{name} gives a map of {listed(wrong)} for an image of {listed(size)}: expected {listed(right)}, which covers "
        "exactly the image; choose another backbone, or other maps with model.encoder.out_indices"
    )


def listed(sides: Sequence[float]) -> str:
    """Channels and sides in words, such as `64 x 8 x 8`."""
    return " x ".join(f"{side:g}" for side in sides)
