"""Image sizes for which the maps of a backbone cover exactly the image.

All code that reads features at positions assumes that a map covers exactly the image, see `src.geometry`. If a backbone
pads the image, its map covers more than the image, and all positions are wrong.
"""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.checkpoints.reading import first_line
from src.errors import DenseSiamError

TOO_SMALL = re.compile("Padding size should be less than|Kernel size can't be greater|Output size is too small")


def nearest_multiple(side: int, multiple: int) -> int:
    """The positive multiple of `multiple` that is nearest to `side`; the larger one if two are equally near."""
    return max(1, (side + multiple // 2) // multiple) * multiple


def nearest_side(side: int, multiple: int, align_corners: bool) -> int:
    """The side that an encoder resizes an image to: the nearest multiple, or with `align_corners` multiple plus 1."""
    ends = int(align_corners)
    return nearest_multiple(side - ends, multiple) + ends


def resized(images: Tensor, multiple: int, align_corners: bool = False) -> Tensor:
    """Resize floating images (B, C, H, W) so that both sides are multiples of `multiple`, bilinearly with antialiasing.

    Images whose sides are multiples already are returned unchanged.

    Args:
        images: (B, C, H, W).
        multiple: what the sides become multiples of.
        align_corners: if true, the sides become multiples plus 1, and corner pixels stay corner pixels.
    """
    sides = images.shape[2], images.shape[3]
    height, width = (nearest_side(side, multiple, align_corners) for side in sides)
    traced = any(isinstance(side, torch.SymInt) for side in images.shape)  # for images of all sizes
    if not traced and (height, width) == sides:
        return images
    if traced or align_corners:  # torch's antialiasing moves the corners, although it has the argument
        rows = interpolation(sides[0], height, images.device, align_corners)
        columns = interpolation(sides[1], width, images.device, align_corners)
        return F.linear(F.linear(images, columns).transpose(2, 3), rows).transpose(2, 3)
    return F.interpolate(images, (height, width), mode="bilinear", align_corners=False, antialias=True)


def interpolation(side: int, target: int, device: torch.device, align_corners: bool = False) -> Tensor:
    """The matrix (target, side) that resizes one side of an image, bilinearly with antialiasing.

    An exported graph has it in place of torch's function: that of onnxruntime differs by more than 1e-4. As in torch,
    all numbers are float32. For the same size it is the identity.
    """
    ends, centre = (1, 0.0) if align_corners else (0, 0.5)
    scale = torch.scalar_tensor(side - ends, device=device) / torch.scalar_tensor(target - ends, device=device)
    centres = (torch.arange(target, dtype=torch.float32, device=device) + centre) * scale
    positions = torch.arange(side, dtype=torch.float32, device=device)
    distances = (positions - centres[:, None] + centre) * (1 / scale.clamp(min=1))
    weights = (1 - distances.abs()).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)


def maps_of(backbone: nn.Module, images: Tensor, channels_last: bool) -> list[Tensor]:
    """The maps of a backbone as a list of (B, C_i, H_i, W_i). The backbone may return a list or a dict of maps."""
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
    """Find out, with blank images, which sizes a backbone takes.

    Args:
        backbone: the backbone, in evaluation mode.
        channels, strides, channels_last: description of its maps, see `src.models.encoder.Encoder`.
        native: height and width of images for which the backbone was made.
        name: name of the backbone in messages.

    Returns:
        None if it takes all multiples of its strides, `native` if it takes only this size.

    Raises:
        DenseSiamError: the backbone does not run on RGB images of its native size, or its maps don't cover the image.
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
    """Channels and sides as text, such as `64 x 8 x 8`."""
    return " x ".join(f"{side:g}" for side in sides)


@contextmanager
def large_enough(height: int, width: int) -> Iterator[None]:
    """Replace torch's different errors for images that are too small for a backbone by one message.

    Raises:
        DenseSiamError: the images are too small.
    """
    try:
        yield
    except RuntimeError as error:
        if not TOO_SMALL.search(str(error)):
            raise
        raise DenseSiamError(
            f"images of {height} x {width} pixels are too small for the encoder: expected larger ones; raise "
            "data.views.size or protocol.side, or keep fewer of its stages"
        ) from error
