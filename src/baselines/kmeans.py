"""Reference methods without training: k-means on colour, or on the features of an encoder."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from src.checks import check_int, check_made, check_seed, check_text
from src.clustering import NearestCentroid, fit_centroids, sample_pixels
from src.evaluation.protocol import EvaluationProtocol
from src.evaluation.scoring import Scoring
from src.metrics import Category
from src.models.encoder import Encoder
from src.models.necks import joined
from src.models.siamese import MOST_CATEGORIES
from src.tasks.base import Data
from src.tasks.pixels import PixelTask


class Colour(nn.Module):
    """RGB in [0, 1] as features, at full resolution."""

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 images (B, 3, H, W) to float of the same shape."""
        return images.float() / 255


class DeepestMaps(nn.Module):
    """The two coarsest maps of an encoder, each scaled to length 1, concatenated at the size of the finer one."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        check_made("references.*.features.encoder", encoder, Encoder, "model/encoder=resnet18")
        self.encoder = encoder.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to (B, C_3 + C_4, h, w), or to the only map if the encoder has one."""
        return joined(self.encoder(images), deepest=2)


def untrained(config: Mapping[str, Any], seed: int) -> Encoder:
    """The encoder of this config with `weights=None`; its random weights depend on the seed alone."""
    check_seed("references.*.features.encoder.seed", seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder: Encoder = instantiate(config, weights=None)
        return encoder


class KMeans(PixelTask):
    """Lloyd's k-means on pixels of training images; `prepare` fits it, and then it is scored as every other task.

    Args:
        features: maps images to (B, C, h, w).
        num_clusters: number of clusters; the network that is compared with it has as many categories.
        classes: the classes of the labels, for scoring only.
        pixels_per_image: the most pixels that are drawn from each image to fit on.
        seed: the seed for drawing pixels and for k-means.
        protocol: how the predictions are scored; its `head` is not used.
        name: the name under which the scores are logged.
        label: the name of its row in the table of scores.
    """

    def __init__(
        self,
        features: nn.Module,
        num_clusters: int,
        classes: Sequence[Category],
        pixels_per_image: int,
        seed: int,
        protocol: EvaluationProtocol,
        name: str,
        label: str,
    ) -> None:
        check_made("references.*.features", features, nn.Module, "references=colour")
        check_int("references.*.num_clusters", num_clusters, low=2, high=MOST_CATEGORIES)
        check_int("references.*.pixels_per_image", pixels_per_image, low=1)
        check_seed("references.*.seed", seed)
        check_text("references.*.label", label)
        super().__init__(Scoring(classes, num_clusters, protocol.matching), protocol, name)
        self.label = label
        self.features, self.num_clusters = features, num_clusters
        self.pixels_per_image, self.seed = pixels_per_image, seed
        self.nearest: NearestCentroid | None = None

    @torch.no_grad()
    def prepare(self, data: Data, images: Iterable[Tensor] | None = None) -> None:
        super().prepare(data, images)
        if images is None:
            return
        generator = torch.Generator().manual_seed(self.seed)
        self.eval()
        pixels = []
        for batch in images:
            features = self.features(batch)
            count = min(self.pixels_per_image, features.shape[2] * features.shape[3])
            pixels.append(sample_pixels(features, count, generator))
        self.nearest = NearestCentroid(fit_centroids(torch.cat(pixels), self.num_clusters, self.seed, "torch"))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to logits (B, N, h, w).

        Raises:
            RuntimeError: `prepare` has not been called with images.
        """
        if self.nearest is None:
            raise RuntimeError("KMeans.prepare has not been called with images")
        logits: Tensor = self.nearest(self.features(images))
        return logits
