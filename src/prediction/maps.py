"""From images to logits, label maps and probabilities."""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from src.checks import check_choice, check_flag, check_int, check_number
from src.evaluation.inference import mirror_averaged, predict_labels
from src.evaluation.protocol import LARGEST
from src.evaluation.windows import overlapping_step, ramp, windowed
from src.models.segmentation import SegmentationNetwork
from src.models.sizes import nearest_side, resized
from src.winners import winners

LARGEST_WINDOW = 16384  # pixels of a side
FEW = 2**22  # logits that are upsampled at once, 16 MB; parts of a quarter of it stay in the cache of a CPU


class Settings(NamedTuple):
    """How images are predicted.

    Attributes:
        head: `main`, `aux` or `merged`.
        side: length in pixels to which the shorter side of an image is resized; `own` for the image's own size.
        flip: whether the logits are averaged with those of the mirror image.
        window: images that are larger than this, in pixels of a side after the resizing, are predicted in windows.
        overlap: the least part of a window that the next one overlaps.
    """

    head: str
    side: int | Literal["own"]
    flip: bool
    window: int
    overlap: float

    def check(self, heads: tuple[str, ...]) -> "Settings":
        """Refuse values out of their ranges, and a head that is not among those of the network; returns itself.

        Raises:
            DenseSiamError: a value is out of its range; the message names it.
        """
        check_choice("head", self.head, heads)
        if self.side != "own":
            check_int("side", self.side, 1, LARGEST, otherwise="or own for each image's own size")
        check_flag("flip", self.flip)
        check_int("window", self.window, 32, LARGEST_WINDOW)
        check_number("overlap", self.overlap, low=0, high=0.9)
        return self


class Dense(NamedTuple):
    """The outputs for a batch of images at the network's resolution.

    Attributes:
        features: (B, C, h, w), of encoder and neck; None if they were not asked for.
        logits: (B, N, h, w).
    """

    features: Tensor | None
    logits: Tensor


def dense(network: SegmentationNetwork, images: Tensor, settings: Settings, with_features: bool = False) -> Dense:
    """Features and logits of images (B, 3, H, W), uint8; large images in windows, with mirror images if asked for."""
    multiple, only, corners = network.encoder.multiple, network.encoder.size, network.encoder.align_corners
    side = nearest_side(settings.window, multiple, corners)
    window = only or (min(side, images.shape[2]), min(side, images.shape[3]))
    channels = network.neck.channels

    def both(part: Tensor) -> Tensor:  # features and logits as channels of one map, so that one pass gives both
        features = network.features(part)
        logits = network.logits(features, settings.head)
        return torch.cat([features, logits.to(features)], 1) if with_features else logits

    def averaged(part: Tensor) -> Tensor:
        return mirror_averaged(both, part) if settings.flip else both(part)

    spare = (images.shape[2] - window[0], images.shape[3] - window[1])
    if min(spare) >= 0 and max(spare) > 0:
        images = resized(images.float() / 255, multiple, corners)
        window = only or (min(side, images.shape[2]), min(side, images.shape[3]))
        steps = [overlapping_step(each, settings.overlap, multiple) for each in window]
        found = windowed(averaged, images, window, steps, ramp, corners)
    else:
        found = averaged(images)
    return Dense(found[:, :channels], found[:, channels:]) if with_features else Dense(None, found)


def upsample_labels(logits: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """The category at each pixel of an image: logits (N, h, w), upsampled bilinearly, then the argmax; (*size) int64.

    The rows of a large image are upsampled in parts, so that the memory is bounded.
    """
    number, height, _ = logits.shape
    if number * size[0] * size[1] <= FEW:
        return predict_labels(logits[None], size, align_corners)[0]
    # Along the rows first: then each row of pixels is a mean of two rows, as `interpolate` computes it.
    last = logits.float()[None].contiguous(memory_format=torch.channels_last)
    wide = F.interpolate(last, (height, size[1]), mode="bilinear", align_corners=align_corners)[0].permute(1, 2, 0)
    rows = torch.arange(size[0], device=logits.device)
    if align_corners:
        place = rows * ((height - 1) / (size[0] - 1))
    else:
        place = ((rows + 0.5) * (height / size[0]) - 0.5).clamp(0, height - 1)
    above = place.floor().long()
    below, weight = (above + 1).clamp(max=height - 1), (place - above)[:, None, None]
    part = max(1, FEW // 4 // (number * size[1]))
    parts = [slice(start, start + part) for start in range(0, size[0], part)]
    between = (torch.lerp(wide[above[s]], wide[below[s]], weight[s]) for s in parts)  # (rows, W, N) each
    return torch.cat([winners(each.permute(2, 0, 1)[None])[0] for each in between])
