"""What a page shows of a network's predictions: pictures of images, and the typical patches of each cluster."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class Shown(NamedTuple):
    """An image of the gallery.

    Attributes:
        name: the name of the image.
        iou: the mean IoU of its classes in percent; None without labels.
        groups: what the filter finds it by: the classes in its label, or, without labels, its clusters.
        pictures: by their headings, such as `image`, `label` and `prediction`; all of one size.
        source: what tells the image from all others, such as its path.
    """

    name: str
    iou: float | None
    groups: Sequence[int]
    pictures: dict[str, Image.Image]
    source: str


class Cluster(NamedTuple):
    """A cluster.

    Attributes:
        name: its number, and the class that it was matched to.
        colour: its colour in the pictures.
        share: its share of the predicted pixels in percent.
        patches: cut from the photographs where the network is most certain of the cluster, the most certain first.
    """

    name: str
    colour: Sequence[int]
    share: float
    patches: Sequence[Image.Image]


class Gallery(NamedTuple):
    """Predictions of a run.

    Attributes:
        kind: the plural of what the filter chooses between: `classes` or `clusters`.
        note: which images are shown and what their pictures mean; it goes on after "3 of 9".
        names: the names of the classes or clusters.
        colours: (N + 1, 3) their colours; the last is for pixels without a class.
        indices: the numbers of the shown images in the data set.
        shown: the images, the best first if they have an IoU.
        clusters: all clusters; empty if the network predicts none.
        predicted: how many images were predicted; the shown ones and the patches are chosen from them.
    """

    kind: str
    note: str
    names: Sequence[str]
    colours: NDArray[np.uint8]
    indices: Sequence[int]
    shown: Sequence[Shown]
    clusters: Sequence[Cluster]
    predicted: int

    @property
    def ranked(self) -> bool:
        """Whether the shown images are in the order of their IoU."""
        return any(one.iou is not None for one in self.shown)
