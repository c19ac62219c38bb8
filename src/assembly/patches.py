"""The most typical patches of each cluster: where the network is most certain of it, each from another image."""

from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

PER_CLUSTER = 6
SHARE = 4  # the side of a patch is the shorter side of its image divided by this


class Place(NamedTuple):
    """The centre of a patch, as shares of the height and the width of an image, and the mean probability in it."""

    probability: float
    image: int
    row: float
    column: float


class Patches:
    """Finds the most typical places of clusters in images that are seen one after another.

    Args:
        num_clusters: number of clusters.

    Attributes:
        places: the best places of each cluster, the best first; of every image at most one.
        pixels: (N,) how many cells of the seen maps each cluster has.
    """

    def __init__(self, num_clusters: int) -> None:
        self.places: list[list[Place]] = [[] for _ in range(num_clusters)]
        self.pixels = torch.zeros(num_clusters, dtype=torch.int64)

    def add(self, index: int, logits: Tensor) -> None:
        """See an image.

        Args:
            index: its number.
            logits: (N, h, w) of the whole image. The softmax makes probabilities of logits and of similarities.
        """
        clusters, height, width = logits.shape
        self.pixels += torch.bincount(logits.argmax(dim=0).flatten(), minlength=clusters).cpu()
        window = max(1, min(height, width) // SHARE)
        means = F.avg_pool2d(logits.float().softmax(dim=0)[None], window, stride=1)[0]  # whole patches only
        best, at = means.flatten(1).max(dim=1)
        for cluster, (probability, cell) in enumerate(zip(best.tolist(), at.tolist(), strict=True)):
            row, column = divmod(cell, means.shape[2])
            centre = (row + window / 2) / height, (column + window / 2) / width
            known = [*self.places[cluster], Place(probability, index, *centre)]
            self.places[cluster] = sorted(known, key=lambda place: (-place.probability, place.image))[:PER_CLUSTER]

    def shares(self) -> list[float]:
        """The share of each cluster in percent."""
        return (100 * self.pixels / self.pixels.sum().clamp(min=1)).tolist()

    def cut(self, photograph: Callable[[int], Image.Image]) -> list[list[Image.Image]]:
        """The patches of each cluster; none for a cluster without a pixel.

        Args:
            photograph: gives the photograph with a number, of any size, but with the same part as in the logits.
        """
        wanted: dict[int, list[tuple[int, int, Place]]] = defaultdict(list)
        for cluster, places in enumerate(self.places):
            for rank, place in enumerate(places if self.pixels[cluster] else []):
                wanted[place.image].append((cluster, rank, place))
        found: list[dict[int, Image.Image]] = [{} for _ in self.places]
        for index, uses in wanted.items():  # every photograph is read once
            picture = photograph(index)
            for cluster, rank, place in uses:
                found[cluster][rank] = square(picture, place)
        return [[patches[rank] for rank in sorted(patches)] for patches in found]


def square(picture: Image.Image, place: Place) -> Image.Image:
    """The patch of a photograph at a place."""
    side = max(1, min(picture.size) // SHARE)
    left = min(max(0, round(place.column * picture.width - side / 2)), picture.width - side)
    top = min(max(0, round(place.row * picture.height - side / 2)), picture.height - side)
    return picture.crop((left, top, left + side, top + side))
