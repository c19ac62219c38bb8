"""Reading image files in loader processes, and predicting them in batches."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from src.errors import DenseSiamError
from src.images.reading import UnreadableFileError
from src.images.resizing import to_tensor
from src.prediction.inputs import as_image
from src.prediction.maps import Settings, dense, upsample_labels
from src.prediction.results import Result
from src.prediction.segmenter import Segmenter, as_array, prepare


class Item(NamedTuple):
    """An image as a loader process has read it.

    Attributes:
        place: its place in the list of names.
        image: (H, W, 3) uint8.
        prepared: (3, h, w) uint8, what the network sees.
        error: why it could not be read; then the others are empty.
    """

    place: int
    image: Tensor
    prepared: Tensor
    error: str = ""


class Files(Dataset[Item]):
    """The files at some places of a list of paths."""

    def __init__(self, paths: list[Path], places: list[int], settings: Settings) -> None:
        self.paths, self.places, self.settings = paths, places, settings

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Item:
        place = self.places[index]
        try:
            image = as_image(self.paths[place])
        except UnreadableFileError as error:  # its message has the path
            return Item(place, torch.empty(0), torch.empty(0), str(error))
        except DenseSiamError as error:
            return Item(place, torch.empty(0), torch.empty(0), f"{self.paths[place]}: {error}")
        return Item(place, torch.from_numpy(np.array(image)), to_tensor(prepare(image, self.settings)))


@torch.inference_mode()
def predicted(
    segmenter: Segmenter, settings: Settings, items: list[Item], wanted: list[str]
) -> Iterator[tuple[int, Result | str]]:
    """The result of each item by its place, or the error of an item that can't be predicted.

    Items of the same size are predicted together.
    """
    yield from ((item.place, item.error) for item in items if item.error)
    readable = sorted((item for item in items if not item.error), key=lambda item: tuple(item.prepared.shape))
    for _, group in groupby(readable, key=lambda item: item.prepared.shape):
        alike = list(group)
        batch = torch.stack([item.prepared for item in alike]).to(segmenter.device)
        try:
            features, logits = dense(segmenter.network, batch, settings, "features" in wanted)
        except DenseSiamError as error:  # a network that takes only other sizes
            yield from ((item.place, str(error)) for item in alike)
            continue
        for place, item in enumerate(alike):
            size = (item.image.shape[0], item.image.shape[1])
            clusters = as_array(upsample_labels(logits[place], size), logits.shape[1])
            arrays: dict[str, Any] = {}
            if "probabilities" in wanted:
                arrays["probabilities"] = logits[place].float().softmax(0).half().cpu().numpy()
            if features is not None:
                arrays["features"] = features[place].half().cpu().numpy()
            yield item.place, Result(Image.fromarray(item.image.numpy()), clusters, arrays)
