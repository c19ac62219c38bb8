"""Labelled images without files, for tests of what is done with any data set."""

from collections.abc import Collection, Sequence

import numpy as np
from PIL import Image

from src.images.reading import UnreadableFileError


class Arrays:
    """Images and labels from arrays. Those whose number is in `broken` can't be read, nor labels in `unlabelled`."""

    def __init__(
        self,
        images: Sequence[np.ndarray],
        labels: Sequence[np.ndarray] = (),
        broken: Collection[int] = (),
        unlabelled: Collection[int] = (),
    ) -> None:
        self.images, self.labels, self.broken, self.unlabelled = images, labels, broken, unlabelled

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> Image.Image:
        if index in self.broken:
            raise UnreadableFileError(f"can't read {self.image_name(index)}")
        return Image.fromarray(self.images[index])

    def image_name(self, index: int) -> str:
        return f"image {index}"

    def label(self, index: int) -> Image.Image:
        if index in self.unlabelled:
            raise UnreadableFileError(f"can't read {self.label_name(index)}")
        return Image.fromarray(self.labels[index])

    def label_name(self, index: int) -> str:
        return f"labels {index}"

    def split_of(self, index: int) -> str:
        return "arrays"

    def __str__(self) -> str:
        return "arrays"


def flat(count: int, side: int = 20) -> list[np.ndarray]:
    """Grey images (side, side, 3), each all of its own number."""
    return [np.full((side, side, 3), number, np.uint8) for number in range(count)]


def number_of(image: Image.Image) -> int:
    """Which of the images of `flat` this is."""
    return int(np.asarray(image)[0, 0, 0])
