"""Prediction of many files: they are read in loader processes, predicted in batches, and written in threads."""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from src.errors import DenseSiamError
from src.images.reading import UnreadableFileError
from src.images.resizing import to_tensor
from src.prediction.inputs import as_image
from src.prediction.maps import Settings, dense, upsample_labels
from src.prediction.results import Result, Results, Row
from src.prediction.segmenter import Segmenter, as_array, prepare

WRITERS = 2  # threads


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
    """Image files, by their places in a list of names."""

    def __init__(self, paths: Mapping[int, Path], settings: Settings) -> None:
        self.paths, self.places, self.settings = paths, list(paths), settings

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


class Loading(NamedTuple):
    """How files are read: how many at once, and by how many processes."""

    batch_size: int
    num_workers: int

    def batches(self, files: Files) -> Iterable[list[Item]]:
        """The files in lists of `batch_size`."""
        workers = min(self.num_workers, len(files))
        return DataLoader(files, self.batch_size, num_workers=workers, collate_fn=list) if len(files) else ()


def predict_files(
    segmenter: Segmenter,
    settings: Settings,
    paths: Mapping[int, Path],
    names: Sequence[str],
    results: Results,
    wanted: Collection[str],
    loading: Loading,
    progress: Callable[[int], None],
) -> tuple[dict[int, Row], dict[int, str]]:
    """Predict files and write their results. No file stops the others, and memory does not grow with their number.

    Args:
        segmenter, settings: predict.
        paths: the files by their places.
        names: the name of the results of each place, see `result_names`.
        results: writes the results.
        wanted: what is written besides label maps and overlays: `probabilities`, `features`.
        loading: how files are read.
        progress: is told how many further files were done.

    Returns:
        The row of the summary of each predicted file, and the error of each other file, by their places.

    Raises:
        DenseSiamError: a result can't be written.
    """
    rows: dict[int, Row] = {}
    failed: dict[int, str] = {}
    pending: deque[tuple[int, Future[Row]]] = deque()
    with ThreadPoolExecutor(WRITERS) as writers:
        for items in loading.batches(Files(paths, settings)):
            for place, found in predicted(segmenter, settings, items, wanted):
                if isinstance(found, str):
                    failed[place] = found
                else:
                    pending.append((place, writers.submit(results.write, names[place], found)))
                while len(pending) > 2 * loading.batch_size:  # otherwise images would collect in memory
                    done, future = pending.popleft()
                    rows[done] = future.result()
            progress(len(items))
        rows |= {place: future.result() for place, future in pending}
    return rows, failed


@torch.inference_mode()
def predicted(
    segmenter: Segmenter, settings: Settings, items: list[Item], wanted: Collection[str]
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
