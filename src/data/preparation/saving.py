"""What a copy with smaller training images saves: bytes, and the time to load a training sample."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
from PIL import Image

from src.data.images import centre_square, open_image
from src.data.preparation.resizing import Job
from src.errors import DenseSiamError

SAMPLE = 100  # images that are timed


@dataclass(frozen=True)
class Saving:
    """Of the training images: bytes of all, and mean seconds to load one of `sample` images, each before and after."""

    images: int
    bytes: tuple[int, int]
    sample: int
    seconds: tuple[float, float]


def measure(jobs: Sequence[Job], side: int, clock: Callable[[], float] = time.perf_counter) -> Saving:
    """Compare the originals of resized images with their copies.

    Every timed file is read once beforehand, so that both come from memory: what a disk saves is in the bytes.

    Args:
        jobs: of the copy; those without a side, and those whose image couldn't be read, don't count.
        side: of the view that is made of an image, in pixels.
        clock: gives seconds.

    Raises:
        DenseSiamError: there is no copy of any training image.
    """
    pairs = [(job.source, job.target) for job in jobs if job.side is not None and job.target.is_file()]
    if not pairs:
        raise DenseSiamError("no training image could be copied: expected some to measure; get the data set first")
    sizes = [(before.stat().st_size, after.stat().st_size) for before, after in pairs]
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(SAMPLE, len(pairs))).round().astype(int))
    seconds: tuple[list[float], list[float]] = ([], [])
    for pair in (pairs[index] for index in chosen):
        for path in pair:
            path.read_bytes()
        for path, spent in zip(pair, seconds, strict=True):
            start = clock()
            _load(path, side)
            spent.append(clock() - start)
    before, after = zip(*sizes, strict=True)
    return Saving(len(pairs), (sum(before), sum(after)), len(chosen), (mean(seconds[0]), mean(seconds[1])))


def _load(path: Path, side: int) -> Image.Image:
    """Decode an image and make the view of its whole square, as training does."""
    image = open_image(path)
    left, top, square = centre_square(image)
    return image.resize((side, side), Image.Resampling.BILINEAR, (left, top, left + square, top + square))
