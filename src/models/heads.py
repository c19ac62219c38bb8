"""Projectors and predictors: of pixels (g and h), of regions (g' and h') and of images (paper 3.1, 3.3, 3.4).

Sizes are the release's, and SimSiam's for images. The dense heads are the multi-layer perceptrons of SimSiam applied at
each pixel, that is 1x1 convolutions; the others are the same on rows.
"""

from collections.abc import Callable, Iterable
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from src.losses import region_embeddings

Project = Callable[[nn.Sequential, Tensor, Tensor], Tensor]  # g', z and features -> v


def projector(in_channels: int, hidden_channels: int, out_channels: int) -> nn.Sequential:
    """g: three 1x1 convolutions, the last one with bias and followed by batch norm without affine.

    The paper's text puts a ReLU after each; like the release, and SimSiam, we leave out the last.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, hidden_channels, kernel_size=1, bias=False),
        nn.BatchNorm2d(hidden_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden_channels, hidden_channels, kernel_size=1, bias=False),
        nn.BatchNorm2d(hidden_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden_channels, out_channels, kernel_size=1),
        nn.BatchNorm2d(out_channels, affine=False),
    )


def predictor(channels: int, hidden_channels: int) -> nn.Sequential:
    """h: two 1x1 convolutions through a hidden layer, back to the projector's channels."""
    return nn.Sequential(
        nn.Conv2d(channels, hidden_channels, kernel_size=1, bias=False),
        nn.BatchNorm2d(hidden_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden_channels, channels, kernel_size=1),
    )


def mlp_projector(in_channels: int, hidden_channels: int, out_channels: int) -> nn.Sequential:
    """SimSiam's projector: three linear layers, the last one followed by batch norm without affine."""
    return nn.Sequential(
        nn.Linear(in_channels, hidden_channels, bias=False),
        nn.BatchNorm1d(hidden_channels),
        nn.ReLU(inplace=True),
        nn.Linear(hidden_channels, hidden_channels, bias=False),
        nn.BatchNorm1d(hidden_channels),
        nn.ReLU(inplace=True),
        nn.Linear(hidden_channels, out_channels, bias=False),
        nn.BatchNorm1d(out_channels, affine=False),
    )


def mlp_predictor(channels: int, hidden_channels: int) -> nn.Sequential:
    """SimSiam's predictor: two linear layers through a hidden one, back to the projector's channels."""
    return nn.Sequential(
        nn.Linear(channels, hidden_channels, bias=False),
        nn.BatchNorm1d(hidden_channels),
        nn.ReLU(inplace=True),
        nn.Linear(hidden_channels, channels),
    )


class ImageHead(nn.Module):
    """Projector and predictor of SimSiam on pooled features (section 3.4).

    Its projector is as wide inside as outside, for any encoder: SimSiam has the encoder's width inside, which for its
    ResNet-50 is the same 2048.

    Args:
        in_channels: of the features.
        channels: of the projector.
        bottleneck: hidden channels of the predictor.
    """

    def __init__(self, in_channels: int, channels: int, bottleneck: int) -> None:
        super().__init__()
        self.projector = mlp_projector(in_channels, channels, channels)
        self.predictor = mlp_predictor(channels, bottleneck)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Map one row per image (B, in_channels) to p and z of Eq. 1, both (B, channels)."""
        z = self.projector(pooled)
        return self.predictor(z), z


class RegionHead(nn.Module):
    """Region embeddings, and g' and h' on them. Batch norm sees images x regions as rows, as in the release.

    Args:
        in_channels: channels of the features.
        channels: channels of both heads, hidden and out.

    Attributes:
        project: how v is computed: `projected`, `projected_early`, or the one of them that takes less arithmetic.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.projector = mlp_projector(in_channels, channels, channels)
        self.predictor = mlp_predictor(channels, channels)
        self.project: Project = projected_cheaply

    def forward(self, z: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map masks and features of the same points to u and v of Eq. 5.

        Args:
            z: (B, N, K, K) projector logits; features: (B, in_channels, K, K).

        Returns:
            u and v, both (B, N, channels).
        """
        v = self.project(self.projector, z, features)
        return along_regions(self.predictor, v).mT, v.mT


def projected(projector: nn.Sequential, z: Tensor, features: Tensor) -> Tensor:
    """v = g'(e) of the region embeddings e (Eq. 4), as the paper has it.

    Args:
        projector: g', whose first layer is linear without bias.
        z: (B, N, K, K) projector logits; features: (B, in_channels, K, K).

    Returns:
        (B, channels, N).
    """
    e = region_embeddings(z, features).mT
    return along_regions(projector, e.to(next(projector.parameters()).dtype))


def projected_early(projector: nn.Sequential, z: Tensor, features: Tensor) -> Tensor:
    """The same as `projected`, with the first layer of g' on the points and the sum of Eq. 4 after it.

    Both are linear, so their order does not matter to the result. With few points, many regions and wide features this
    one takes a fraction of the arithmetic.
    """
    first, *rest = projector
    weight = cast(Tensor, first.weight)
    at_points = F.conv2d(features, weight[:, :, None, None])
    return along_regions(rest, region_embeddings(z, at_points).mT.to(weight.dtype))


def projected_cheaply(projector: nn.Sequential, z: Tensor, features: Tensor) -> Tensor:
    """The same as `projected`, in the order of fewer multiplications, see `layer_first`."""
    first = cast(nn.Linear, projector[0])
    points = z.shape[2] * z.shape[3]
    early = layer_first(regions=z.shape[1], points=points, width=first.in_features, out=first.out_features)
    return projected_early(projector, z, features) if early else projected(projector, z, features)


def along_regions(layers: Iterable[nn.Module], regions: Tensor) -> Tensor:
    """Apply layers made for rows (B x N, C) to (B, C, N).

    A linear layer is a 1x1 convolution then, and takes the encoder's kernels: on a CPU oneDNN's, which had twice the
    rate of MKL's matrix products where we measured (AMD, AVX-512); on a GPU those that may use TF32.
    """
    for layer in layers:
        if isinstance(layer, nn.Linear):
            regions = F.conv1d(regions, layer.weight[:, :, None], layer.bias)
        else:
            regions = layer(regions)
    return regions


def layer_first(regions: int, points: int, width: int, out: int) -> bool:
    """Whether a linear layer takes fewer multiplications at the points than on the sums over them.

    Args:
        regions: sums per image; points: terms of each; width, out: channels before and after the layer.
    """
    return points * out * (width + regions) < regions * width * (points + out)
