"""How much a copy with smaller training images saves: bytes, and time to load a training sample."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
from PIL import Image

from src.data.preparation.resizing import Job
from src.errors import DenseSiamError
from src.images.reading import open_image
from src.images.resizing import centre_square

SAMPLE = 100  # number of images that are timed


@dataclass(frozen=True)
class Saving:
    """Size and loading time of training images, as (originals, copies).

    Args:
        images: number of training images.
        bytes: size of all of them.
        sample: number of images that were timed.
        seconds: mean time to load one of them.
    """

    images: int
    bytes: tuple[int, int]
    sample: int
    seconds: tuple[float, float]


def measure(jobs: Sequence[Job], side: int, clock: Callable[[], float] = time.perf_counter) -> Saving:
    """Compare the originals of resized images with their copies.

    Every timed file is read once before, so that the times don't depend on the disk.

    Args:
        jobs: the files of the copy; unchanged files, and images that couldn't be read, are not measured.
        side: side in pixels of the view that is made of an image.
        clock: returns the time in seconds.

    Raises:
        DenseSiamError: no training image has a copy.
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
    """Decode an image and make a view of the square in its centre, as training does."""
    image = open_image(path)
    left, top, square = centre_square(image)
    return image.resize((side, side), Image.Resampling.BILINEAR, (left, top, left + square, top + square))
