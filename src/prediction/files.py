"""Prediction of many files: threads read, predict and write batches of them side by side."""

import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from src.errors import DenseSiamError
from src.images.reading import UnreadableFileError
from src.images.resizing import to_tensor
from src.prediction.inputs import as_image
from src.prediction.maps import Settings, dense, upsample_labels
from src.prediction.results import Result, Results, Row, UnwritableNameError
from src.prediction.segmenter import Segmenter, as_array, prepare


class Item(NamedTuple):
    """A file that was read: its place in the list, the image, and what the network sees of it, (3, h, w) uint8."""

    place: int
    image: Image.Image
    prepared: Tensor


class Done(NamedTuple):
    """What came of some files, by their places: the row of the summary, or the error."""

    rows: dict[int, Row]
    failed: dict[int, str]


class Work(NamedTuple):
    """The prediction of one batch of files, from reading to writing.

    Attributes:
        segmenter, settings: predict.
        paths: the files by their places.
        names: the name of the results of each place, see `src.prediction.listing.result_names`.
        results: writes the results.
        wanted: what is written besides label maps and overlays: `probabilities`, `features`.
    """

    segmenter: Segmenter
    settings: Settings
    paths: Mapping[int, Path]
    names: Sequence[str]
    results: Results
    wanted: Collection[str]

    def run(self, places: Sequence[int]) -> Done:
        """Predict the files at some places. A file that can't be predicted does not stop the others.

        Raises:
            DenseSiamError: a result can't be written.
        """
        done = Done({}, {})
        items = []
        for place in places:
            try:
                items.append(self.read(place))
            except UnreadableFileError as error:  # its message has the path
                done.failed[place] = str(error)
            except DenseSiamError as error:
                done.failed[place] = self.said(place, error)
        items.sort(key=lambda item: tuple(item.prepared.shape))
        for _, group in groupby(items, key=lambda item: item.prepared.shape):
            alike = list(group)
            try:
                found = list(self.predict(alike))
            except DenseSiamError as error:  # the network takes only other sizes
                done.failed.update((item.place, self.said(item.place, error)) for item in alike)
                continue
            except torch.OutOfMemoryError:
                advice = "the memory of the device is too small for it: lower window, side, batch_size or num_threads"
                done.failed.update((item.place, self.said(item.place, advice)) for item in alike)
                continue
            for item, result in zip(alike, found, strict=True):
                try:
                    done.rows[item.place] = self.results.write(self.names[item.place], result)
                except UnwritableNameError as error:
                    done.failed[item.place] = str(error)
        return done

    def said(self, place: int, error: object) -> str:
        """An error about a file with the file's path, on one line."""
        return str(DenseSiamError(f"{self.paths[place]}: {error}"))

    def read(self, place: int) -> Item:
        """Read a file.

        Raises:
            UnreadableFileError, DenseSiamError: see `as_image`.
        """
        image = as_image(self.paths[place])
        return Item(place, image, to_tensor(prepare(image, self.settings)))

    @torch.inference_mode()
    def predict(self, items: Sequence[Item]) -> Iterator[Result]:
        """The results of images whose prepared sizes are the same."""
        batch = torch.stack([item.prepared for item in items]).to(self.segmenter.device)
        corners = self.segmenter.network.encoder.align_corners
        features, logits = dense(self.segmenter.network, batch, self.settings, "features" in self.wanted)
        for place, item in enumerate(items):
            clusters = as_array(upsample_labels(logits[place], item.image.size[::-1], corners), logits.shape[1])
            arrays: dict[str, Any] = {}
            if "probabilities" in self.wanted:
                arrays["probabilities"] = logits[place].float().softmax(0).half().cpu().numpy()
            if features is not None:
                arrays["features"] = features[place].half().cpu().numpy()
            yield Result(item.image, clusters, arrays)


def predict_files(work: Work, batch_size: int, num_threads: int, progress: Callable[[int], None]) -> Done:
    """Predict files and write their results. Of each file, only a row of numbers stays in memory.

    Each thread reads, predicts and writes batches of its own. On a CPU, this takes less time than a network whose
    operations are each split among all cores: these wait for the slowest core, which at the same time reads or writes.

    Args:
        work: see `Work`.
        batch_size: how many files a thread takes at once.
        num_threads: number of threads.
        progress: is told how many further files were done.

    Raises:
        DenseSiamError: a result can't be written.
    """
    whole = Done({}, {})
    pending: deque[Future[Done]] = deque()

    def take() -> None:
        done = pending.popleft().result()
        whole.rows.update(done.rows)
        whole.failed.update(done.failed)
        progress(len(done.rows) + len(done.failed))

    with shared_cores(num_threads), ThreadPoolExecutor(num_threads) as threads:
        places = list(work.paths)
        for start in range(0, len(places), batch_size):
            pending.append(threads.submit(work.run, places[start : start + batch_size]))
            if len(pending) > 2 * num_threads:  # batches wait, not their images
                take()
        while pending:
            take()
    return whole


@contextmanager
def shared_cores(num_threads: int) -> Iterator[None]:
    """Divide torch's cores among so many threads, and silence warnings in all of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // num_threads))
    try:
        with warnings.catch_warnings():  # the filters belong to the process: threads can't each have their own
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_num_threads(before)
