"""A trained network, ready for use on images."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from src.evaluation.matched import Matched
from src.images.resizing import shorter_side_to, to_tensor
from src.models.segmentation import SegmentationNetwork
from src.prediction.clusters import Clusters, clusters_of
from src.prediction.inputs import as_image, as_list
from src.prediction.maps import Settings, dense, upsample_labels
from src.prediction.predictor import Predictor

WINDOW, OVERLAP = 1024, 0.25


class Segmenter(Predictor):
    """A trained network with the names and colours of its clusters; `src.api.load` makes it.

    Args:
        network: the network, in evaluation mode.
        recommended_side: the length in pixels of the shorter side of images at which the network was trained.
        matched: the classes of the clusters, if labels have given them.

    Attributes:
        network: the module itself, which maps images (B, 3, H, W), uint8 or float in [0, 1], to logits.
        recommended_side: see above.
        heads: the names of the heads, the default one first.
        clusters: the names and colours of the clusters of each head.
    """

    network: SegmentationNetwork

    def __init__(self, network: SegmentationNetwork, recommended_side: int, matched: Matched | None) -> None:
        self.network, self.recommended_side = network, recommended_side
        self.heads = tuple(network.heads)
        self.clusters: Mapping[str, Clusters] = {
            head: clusters_of(head, number, matched) for head, number in network.num_categories.items()
        }

    def __repr__(self) -> str:
        clusters = ", ".join(f"{head}: {len(found.names)} clusters" for head, found in self.clusters.items())
        return f"Segmenter({clusters}, recommended_side={self.recommended_side}, device={self.device})"

    @property
    def names(self) -> list[str]:
        """The names of the clusters of the default head, by their numbers."""
        return self.clusters[self.network.default].names

    @property
    def note(self) -> str:
        """How the clusters of the default head came about, for people."""
        return self.clusters[self.network.default].note

    @property
    def palette(self) -> NDArray[np.uint8]:
        """The colours of the clusters of the default head, (N, 3)."""
        return self.clusters[self.network.default].palette

    def settings(
        self,
        head: str | None = None,
        side: int | Literal["own"] | None = None,
        flip: bool = False,
        window: int = WINDOW,
        overlap: float = OVERLAP,
    ) -> Settings:
        """The settings of a prediction, see `Settings`; None stands for the default head and the recommended side.

        Raises:
            DenseSiamError: see `Settings.check`.
        """
        head = self.network.default if head is None else head
        side = self.recommended_side if side is None else side
        chosen = Settings(head, side, flip, window, overlap)
        return chosen.check(self.heads)

    def predict(self, images: Any, **settings: Any) -> Any:
        """The cluster of each pixel.

        Args:
            images: an image, or a list of images: paths, PIL images, arrays (H, W, 3) or tensors (3, H, W); uint8, or
                floats in [0, 1].
            settings: the arguments of `settings`: `head`, `side`, `flip`, `window`, `overlap`.

        Returns:
            An array (H, W) of the image's own size, with the numbers of clusters: uint8, or int32 if there are more
            than 256 clusters. A list of arrays for a list of images.

        Raises:
            UnreadableFileError: a file can't be read.
            DenseSiamError: see `as_image` and `Settings.check`.
        """
        chosen = self.settings(**settings)
        given, is_one = as_list(images)
        maps = [self._predicted(as_image(one), chosen) for one in given]
        return maps[0] if is_one else maps

    @torch.inference_mode()
    def _predicted(self, image: Image.Image, settings: Settings) -> NDArray[Any]:
        prepared = to_tensor(prepare(image, settings)).to(self.device)[None]
        logits = dense(self.network, prepared, settings).logits[0]
        return as_array(upsample_labels(logits, image.size[::-1], self.network.encoder.align_corners), len(logits))


def prepare(image: Image.Image, settings: Settings) -> Image.Image:
    """An image at the size at which the network sees it."""
    return image if settings.side == "own" else shorter_side_to(image, settings.side, Image.Resampling.BILINEAR)


def as_array(labels: Tensor, clusters: int) -> NDArray[Any]:
    """A label map (H, W) as an array: uint8, or int32 if there are more than 256 clusters."""
    return labels.to("cpu", torch.uint8 if clusters <= 256 else torch.int32).numpy()
