"""Projectors and predictors: g and h on pixels, g' and h' on regions (paper 3.1, 3.3; sizes as in the release).

The dense heads are the multi-layer perceptrons of SimSiam applied at each pixel, that is 1x1 convolutions; the region
heads are the same on rows.
"""

from torch import Tensor, nn


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


class RegionHead(nn.Module):
    """g' and h' on region embeddings. Batch norm sees images x regions as rows, as in the release.

    Args:
        in_channels: channels of the embeddings.
        channels: channels of both heads, hidden and out.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.projector = nn.Sequential(
            nn.Linear(in_channels, channels, bias=False),
            nn.BatchNorm1d(channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels, bias=False),
            nn.BatchNorm1d(channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels, bias=False),
            nn.BatchNorm1d(channels, affine=False),
        )
        self.predictor = nn.Sequential(
            nn.Linear(channels, channels, bias=False),
            nn.BatchNorm1d(channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels),
        )

    def forward(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Map embeddings (B, N, in_channels) to u and v of Eq. 5, both (B, N, channels)."""
        rows = self.projector(embeddings.flatten(0, 1))
        shape = (*embeddings.shape[:2], -1)
        return self.predictor(rows).view(shape), rows.view(shape)
