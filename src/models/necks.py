"""Necks: they merge the encoder's pyramid of maps into one dense map.

Segmentation uses the simplified feature pyramid network of PiCIE and DenseSiam (paper section 4; the release's
`FPNDecoder`), pre-training uses the deepest map unchanged. `PrincipalComponents` is our own: its first weights are
computed from features of the encoder, they are not random.
"""

from collections.abc import Iterable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.checks import check_flag, check_int
from src.clustering import sample_pixels
from src.errors import DenseSiamError
from src.models.pointwise import pointwise
from src.pca import principal_components

MOST_CHANNELS = 16384


class Neck(nn.Module):
    """Merges a pyramid of maps (B, C_i, H_i, W_i), fine to coarse, into one dense map (B, channels, h, w).

    Attributes:
        channels: number of channels of the output.
    """

    channels: int

    def fit(self, pyramids: Iterable[Sequence[Tensor]]) -> None:
        """Compute initial weights from the pyramids of some training images. Most necks do nothing here."""


class SimplifiedFPN(Neck):
    """1x1 convolutions with bias of all maps, added from the coarsest map to the finest with bilinear upsampling.

    With a single map this is one 1x1 convolution.

    Args:
        in_channels: number of channels of each map, fine to coarse.
        channels: number of channels of the output; 128 in the paper.
    """

    def __init__(self, in_channels: Sequence[int], channels: int = 128) -> None:
        super().__init__()
        check_int("model.neck.channels", channels, 1, MOST_CHANNELS)
        self.channels = channels
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, kernel_size=1) for width in in_channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Merge the maps (B, C_i, H_i, W_i), fine to coarse, into (B, channels, H_0, W_0)."""
        pairs = zip(self.laterals, maps, strict=True)
        laterals = [
            pointwise(level, cast(Tensor, lateral.weight), cast(Tensor, lateral.bias)) for lateral, level in pairs
        ]
        merged = laterals.pop()
        for finer in reversed(laterals):
            merged = F.interpolate(merged, size=finer.shape[2:], mode="bilinear", align_corners=False).add_(finer)
        return merged


class DeepestMap(Neck):
    """The encoder's last map (C5 of a ResNet), unchanged.

    Args:
        in_channels: number of channels of each map, fine to coarse.
    """

    def __init__(self, in_channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = in_channels[-1]

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Take the last of the maps (B, C_i, H_i, W_i), fine to coarse."""
        return maps[-1]


class PrincipalComponents(Neck):
    """One 1x1 convolution on the deepest maps, initialised with principal components of features of training images.

    Args:
        in_channels: number of channels of each map, fine to coarse.
        channels: number of components, at most the number of channels of the joined maps.
        deepest: how many of the maps are joined, see `joined`.
        frozen: if true, the components are not trained, only the modules after them.
        pixels_per_image: how many pixels `fit` draws from each image at most.

    Raises:
        DenseSiamError: a value is out of its range, or there are more components than channels.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 128,
        deepest: int = 2,
        frozen: bool = False,
        pixels_per_image: int = 256,
    ) -> None:
        super().__init__()
        check_int("model.neck.deepest", deepest, low=1)
        check_int("model.neck.channels", channels, low=1)
        check_int("model.neck.pixels_per_image", pixels_per_image, low=1)
        check_flag("model.neck.frozen", frozen)
        width = sum(in_channels[-deepest:])
        if channels > width:
            raise DenseSiamError(
                f"model.neck.channels is {channels}: expected 1 to {width} principal components, as many as the "
                f"encoder's {deepest} deepest maps have channels together"
            )
        self.channels, self.deepest, self.pixels_per_image = channels, deepest, pixels_per_image
        self.projection = nn.Conv2d(width, channels, kernel_size=1).requires_grad_(not frozen)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Project the joined maps: (B, channels, h, w), with the size of the finest of them."""
        return self.projection(joined(maps, self.deepest))

    @torch.no_grad()
    def fit(self, pyramids: Iterable[Sequence[Tensor]]) -> None:
        """Set the convolution to the projection of features minus their mean onto their first principal components."""
        generator = torch.Generator().manual_seed(0)  # fixed, because the choice of pixels hardly matters
        rows = []
        for maps in pyramids:
            features = joined(maps, self.deepest)
            count = min(self.pixels_per_image, features.shape[2] * features.shape[3])
            rows.append(sample_pixels(features, count, generator).float())
        mean, components = principal_components(torch.cat(rows), self.channels)
        self.projection.load_state_dict({"weight": components[:, :, None, None], "bias": -components @ mean})


def joined(maps: Sequence[Tensor], deepest: int) -> Tensor:
    """Concatenate the deepest maps, each L2-normalised at every position so that all have equal weight.

    Args:
        maps: (B, C_i, H_i, W_i), fine to coarse.
        deepest: how many maps are used; all of them if there are fewer.

    Returns:
        (B, sum of C_i, h, w), with the size of the finest map; the others are upsampled bilinearly.
    """
    taken = maps[-deepest:]
    size = taken[0].shape[2:]
    resized = [F.interpolate(level, size=size, mode="bilinear", align_corners=False) for level in taken]
    return torch.cat([F.normalize(level, dim=1) for level in resized], dim=1)
