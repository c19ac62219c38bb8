"""The interface of what makes training samples of images: `data.views`."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import Dataset

from src.data.reading import Reader
from src.errors import DenseSiamError


class TrainingViews(ABC):
    """What a network sees of a training image: two views without labels, or a crop with its labels."""

    @abstractmethod
    def samples(self, reader: Reader, num_classes: int, seed: int) -> Dataset[dict[str, Any]]:
        """The training samples.

        An item's key is a `SampleKey`; its random numbers depend on the key and the seed of the run only. Every item
        has the keys `index`, the index of the image, and `unreadable`, "" or the reason why another image is shown.

        Args:
            reader: reads the images.
            num_classes: number of classes; labels hold 0 to `num_classes` - 1, or 255.
            seed: seed of the run.

        Raises:
            DenseSiamError: the samples need labels that the images do not have.
        """

    def with_colours_left(self) -> "TrainingViews":
        """The same views for `data.augment_on=device`: the device of the task changes their colours.

        Raises:
            DenseSiamError: these views can't be made without their colours.
        """
        raise DenseSiamError(
            "data.augment_on is device: expected data/views=crop_and_whole or data/views=two_crops, because a device "
            "changes the colours of these views only; choose one of them, or set data.augment_on=loader"
        )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch's default generator start from a seed, and afterwards give it its former state back."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
