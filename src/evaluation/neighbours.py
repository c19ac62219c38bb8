"""k-NN label propagation on dense features: a cell gets the labels of the labelled cells that are most like it.

It follows "Towards In-context Scene Understanding" (Balazevic et al., NeurIPS 2023, arXiv 2306.01667, section 3.1):
labelled cells are a memory, similarity is that of directions (the cosine), and the softmax of the similarities of the
k nearest cells, divided by a temperature, weighs their labels. k = 30 and the temperature 0.02 are that paper's too.
DINO (Caron et al., ICCV 2021) classifies whole images in the same way, with k = 20 and 0.07. Nothing is fitted.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from src.buffers import Float32Buffers
from src.checks import check_int, check_number
from src.errors import DenseSiamError
from src.evaluation.probing import Cells

MOST_SIMILARITIES = 2**25  # similarities that are in memory at a time: 128 MiB as float32


@dataclass(frozen=True)
class NeighbourSettings:
    """How labels are propagated.

    Attributes:
        number: k, how many labelled cells give a cell its label; all of them, if there are fewer.
        temperature: similarities are divided by this before the softmax; with a small one the nearest cell decides.

    Raises:
        DenseSiamError: a value out of its range.
    """

    number: int
    temperature: float

    def __post_init__(self) -> None:
        check_int("neighbours.number", self.number, low=1)
        check_number("neighbours.temperature", self.temperature, low=1e-4)


class NearestCells(Float32Buffers):
    """Shares of the classes at each position: features (B, C, h, w) of any floating dtype -> (B, K, h, w) float32.

    Args:
        cells: the labelled cells; those in which no pixel is counted are left out.
        settings: see `NeighbourSettings`.

    Raises:
        DenseSiamError: no cell has a counted pixel, or a feature is not finite.
    """

    features: Tensor
    shares: Tensor

    def __init__(self, cells: Cells, settings: NeighbourSettings) -> None:
        super().__init__()
        counted = cells.weight > 0
        if not counted.any() or not cells.features[counted].isfinite().all():
            raise DenseSiamError(
                f"expected labelled cells with finite features, found {int(counted.sum())} labelled cells: check the "
                "labels, the checkpoint and the precision"
            )
        self.register_buffer("features", F.normalize(cells.features[counted].float(), dim=1))
        self.register_buffer("shares", cells.shares[counted].float())
        self.settings = settings

    def forward(self, features: Tensor) -> Tensor:
        batch, channels, height, width = features.shape
        rows = features.float().permute(0, 2, 3, 1).reshape(-1, channels)
        with torch.autocast(features.device.type, enabled=False):
            parts = torch.split(rows, max(1, MOST_SIMILARITIES // len(self.features)))
            shares = torch.cat([self.propagated(part) for part in parts])
        return shares.view(batch, height, width, -1).permute(0, 3, 1, 2)

    def propagated(self, rows: Tensor) -> Tensor:
        """Shares (M, K) of the classes for features (M, C)."""
        similarity = F.normalize(rows, dim=1) @ self.features.mT
        nearest = similarity.topk(min(self.settings.number, len(self.features)), dim=1)
        weights = (nearest.values / self.settings.temperature).softmax(dim=1)
        return torch.einsum("mk,mkc->mc", weights, self.shares[nearest.indices])
