"""Projectors and predictors for pixels (g and h), regions (g' and h') and images (paper 3.1, 3.3, 3.4).

Their sizes are those of the release; those of the image head are SimSiam's. The heads of pixels apply SimSiam's
multi-layer perceptrons at each pixel, as 1x1 convolutions; the other heads apply them to rows.
"""

from collections.abc import Callable, Iterable
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from src.losses import region_embeddings

Project = Callable[[nn.Sequential, Tensor, Tensor], Tensor]  # g', z and features -> v


def projector(in_channels: int, hidden_channels: int, out_channels: int) -> nn.Sequential:
    """g: three 1x1 convolutions, the last one with bias and followed by batch norm without affine parameters.

    The paper's text has a ReLU after each; as the release and SimSiam, we have none after the last.
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
    """SimSiam's projector: three linear layers, the last one followed by batch norm without affine parameters."""
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
    """SimSiam's predictor: two linear layers through hidden channels, back to the projector's channels."""
    return nn.Sequential(
        nn.Linear(channels, hidden_channels, bias=False),
        nn.BatchNorm1d(hidden_channels),
        nn.ReLU(inplace=True),
        nn.Linear(hidden_channels, channels),
    )


class ImageHead(nn.Module):
    """Projector and predictor of SimSiam on pooled features (section 3.4).

    Its projector has as many hidden channels as output channels, for every encoder. SimSiam has as many hidden channels
    as the encoder has outputs; for its ResNet-50 both numbers are 2048.

    Args:
        in_channels: channels of the features.
        channels: hidden and output channels of the projector.
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
    """Region embeddings with g' and h'. As in the release, the rows of batch norm are all regions of all images.

    Args:
        in_channels: channels of the features.
        channels: hidden and output channels of g' and h'.

    Attributes:
        project: computes v: `projected`, `projected_early`, or `projected_cheaply`, which chooses the cheaper one.
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
    """v = g'(e) of the region embeddings e (Eq. 4), in the order of the paper.

    Args:
        projector: g', whose first layer is linear without bias.
        z: (B, N, K, K) projector logits; features: (B, in_channels, K, K).

    Returns:
        (B, channels, N).
    """
    e = region_embeddings(z, features).mT
    return along_regions(projector, e.to(next(projector.parameters()).dtype))


def projected_early(projector: nn.Sequential, z: Tensor, features: Tensor) -> Tensor:
    """The same as `projected`, but the first layer of g' is applied to the points, before the sum of Eq. 4.

    Both are linear, so their order does not change the result. With few points, many regions and many channels, this
    order takes far fewer multiplications.
    """
    first, *rest = projector
    weight = cast(Tensor, first.weight)
    at_points = F.conv2d(features, weight[:, :, None, None])
    return along_regions(rest, region_embeddings(z, at_points).mT.to(weight.dtype))


def projected_cheaply(projector: nn.Sequential, z: Tensor, features: Tensor) -> Tensor:
    """The same as `projected`, in the order that takes fewer multiplications, see `layer_first`."""
    first = cast(nn.Linear, projector[0])
    points = z.shape[2] * z.shape[3]
    early = layer_first(regions=z.shape[1], points=points, width=first.in_features, out=first.out_features)
    return projected_early(projector, z, features) if early else projected(projector, z, features)


def along_regions(layers: Iterable[nn.Module], regions: Tensor) -> Tensor:
    """Apply layers made for rows (B x N, C) to (B, C, N).

    A linear layer becomes a 1x1 convolution, which uses the same kernels as the encoder. On a CPU these are oneDNN's,
    which were twice as fast as MKL's matrix products in our measurement (AMD, AVX-512); on a GPU they may use TF32.
    """
    for layer in layers:
        if isinstance(layer, nn.Linear):
            regions = F.conv1d(regions, layer.weight[:, :, None], layer.bias)
        else:
            regions = layer(regions)
    return regions


def layer_first(regions: int, points: int, width: int, out: int) -> bool:
    """Whether a linear layer takes fewer multiplications before the sum over points than after it.

    Args:
        regions: number of regions per image.
        points: number of points per image.
        width, out: channels before and after the layer.
    """
    return points * out * (width + regions) < regions * width * (points + out)
