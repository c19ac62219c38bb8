"""Necks, from the encoder's pyramid to one dense map.

Segmentation has the simplified feature pyramid network of PiCIE and DenseSiam (paper section 4; the release's
`FPNDecoder`), pre-training the deepest map as it is.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class SimplifiedFPN(nn.Module):
    """1x1 laterals with bias, added from the coarsest map to the finest with bilinear upsampling. Nothing else.

    With a single map it is one 1x1 convolution.

    Args:
        in_channels: channels of the maps, fine to coarse.
        channels: channels of the output; 128 in the paper.
    """

    def __init__(self, in_channels: Sequence[int], channels: int = 128) -> None:
        super().__init__()
        self.channels = channels
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, kernel_size=1) for width in in_channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Merge the maps (B, C_i, H_i, W_i), fine to coarse, into (B, channels, H_0, W_0)."""
        laterals = [lateral(level) for lateral, level in zip(self.laterals, maps, strict=True)]
        merged = laterals.pop()
        for finer in reversed(laterals):
            merged = finer + F.interpolate(merged, size=finer.shape[2:], mode="bilinear", align_corners=False)
        return merged


class DeepestMap(nn.Module):
    """The encoder's last map as it is, C5 of a ResNet, so that nothing stands between encoder and losses.

    Args:
        in_channels: channels of the maps, fine to coarse.
    """

    def __init__(self, in_channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = in_channels[-1]

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Take the last of the maps (B, C_i, H_i, W_i), fine to coarse."""
        return maps[-1]
