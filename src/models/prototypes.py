"""A head that starts from a clustering: prototypes of length 1, found by spherical k-means, behind a linear projection.

PixSim needs no projector and no predictor here: the logits of the prototypes are what both views compare. Several sets
of prototypes on one map of features cost hardly more than one; `src.merging` averages them.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.checks import check_int, check_number
from src.clustering import fit_spherical, some_pixels
from src.models.dense import DenseFeatures, MemoryFormat
from src.models.encoder import Encoder
from src.models.necks import Neck
from src.models.siamese import MOST_CATEGORIES

PIXELS_PER_IMAGE = 400  # drawn from each image at most, to fit the prototypes on


class Prototypes(nn.Module):
    """S sets of M prototypes: logits are cosines with projected features, divided by a temperature.

    Args:
        channels: C, channels of the features.
        number: M, prototypes of a set.
        sets: S.
        temperature: divides the cosines, above 0.

    Attributes:
        points: (S, M, C), the prototypes; only their directions count.
        projection: (S, C, C), a linear projection of features for each set, the identity at first.
    """

    def __init__(self, channels: int, number: int, sets: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.points = nn.Parameter(F.normalize(torch.randn(sets, number, channels), dim=2))
        self.projection = nn.Parameter(torch.eye(channels).repeat(sets, 1, 1))

    def projected(self, features: Tensor) -> Tensor:
        """Features (B, C, h, w) of length 1, projected, and scaled to length 1 again: (B, S, C, h, w) float32."""
        sets, channels = self.projection.shape[:2]
        with torch.autocast(features.device.type, enabled=False):
            weight = self.projection.float().flatten(0, 1)[:, :, None, None]  # (S x C, C, 1, 1)
            moved = F.conv2d(F.normalize(features.float(), dim=1), weight)
            return F.normalize(torch.unflatten(moved, 1, (sets, channels)), dim=2)

    def of_projected(self, projected: Tensor) -> Tensor:
        """Map projected features (B, S, C, h, w) to logits (B, S, M, h, w)."""
        sets, number = self.points.shape[:2]
        with torch.autocast(projected.device.type, enabled=False):
            weight = F.normalize(self.points.float(), dim=2).flatten(0, 1)[:, :, None, None]  # (S x M, C, 1, 1)
            logits = F.conv2d(projected.flatten(1, 2), weight / self.temperature, groups=sets)
            return torch.unflatten(logits, 1, (sets, number))

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, h, w) to logits (B, S x M, h, w), those of the first set first."""
        return self.of_projected(self.projected(features)).flatten(1, 2)

    @torch.no_grad()
    def fit(self, rows: Tensor) -> None:
        """Set the prototypes to the centroids of spherical k-means, and the projections to the identity.

        Args:
            rows: (R, C) features, R >= M. The sets differ in their starts, which come from torch's own generator.

        Raises:
            DenseSiamError: see `fit_spherical`.
        """
        for points in self.points:
            points.copy_(fit_spherical(rows, len(points), seed=int(torch.randint(2**31, ()))))
        self.projection.copy_(torch.eye(self.projection.shape[1]))


class PrototypeNetwork(DenseFeatures):
    """Encoder, neck and prototypes; `fit_neck` fits both the neck and the prototypes.

    Args:
        encoder, neck, grid_size, memory_format: see `DenseFeatures`.
        num_categories: N, the number of categories that the prototypes are merged to.
        num_aux_categories: M, the number of prototypes of a set, at least N.
        num_sets: S, the number of sets of prototypes.
        temperature: see `Prototypes`.

    Raises:
        DenseSiamError: a value is out of its range.
    """

    def __init__(
        self,
        encoder: Encoder,
        neck: Callable[[Sequence[int]], Neck],
        num_categories: int,
        num_aux_categories: int,
        num_sets: int,
        temperature: float,
        grid_size: int | None = None,
        memory_format: MemoryFormat = "contiguous",
    ) -> None:
        super().__init__(encoder, neck, grid_size, memory_format)
        if grid_size is not None:
            check_int("model.grid_size", grid_size, low=1, high=256, otherwise="or null for one point per cell")
        check_int("model.num_categories", num_categories, low=2, high=MOST_CATEGORIES)
        check_int("model.num_aux_categories", num_aux_categories, low=num_categories, high=MOST_CATEGORIES)
        check_int("model.num_sets", num_sets, low=1, high=64)
        check_number("model.temperature", temperature, low=1e-3, high=1e3)
        self.num_categories, self.num_aux_categories, self.num_sets = num_categories, num_aux_categories, num_sets
        self.prototypes = Prototypes(self.neck.channels, num_aux_categories, num_sets, temperature)

    def heads(self) -> list[nn.Module]:
        return [self.prototypes]

    @torch.no_grad()
    def fit_neck(self, batches: Iterable[Tensor]) -> None:
        """Fit the neck, then the prototypes on the neck's maps of the same images, which are kept meanwhile."""
        kept = list(batches)
        super().fit_neck(kept)
        generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
        training = self.encoder.training
        self.encoder.eval()
        rows = [some_pixels(self.features(images), PIXELS_PER_IMAGE, generator) for images in kept]
        self.encoder.train(training)
        self.prototypes.fit(torch.cat(rows))
