"""Time of one thread to load a training sample from a JPEG file, beside the loaders of the release and of the peers.

    python -m benchmarks.loading
    python -m benchmarks.loading --root DIR

Without `--root`, photographs of 640 x 480 pixels are made up. The package lightly is measured if it is installed; the
row beside it is always there. Every row ends with normalised numbers in float32. Our loader hands over bytes, so what
the encoder does with them first is measured too; augment_on=device leaves that and the colours to the device.
"""

import argparse
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from benchmarks.measuring import Row, Times, in_turn, machine, times_table
from benchmarks.published_views import MEAN, STD, lightly, pillow, release, simsiam
from src.data.folder import FileImages
from src.data.reading import Reader
from src.data.sampling import SampleKey
from src.images.listing import list_images

VIEWS = Path(__file__).resolve().parents[1] / "conf" / "data" / "views"
WIDTH, HEIGHT = 640, 480
LEGEND = (
    "Each row but those of augment_on=device ends with normalised float32 numbers. Our loader hands over bytes, so the "
    "conversion that the network does first is added to it."
)
DEFERRED = "ours, augment_on=device"
MEANS, DEVIATIONS = (torch.tensor(each).view(3, 1, 1) for each in (MEAN, STD))
SEGMENTATION_GOAL, PRETRAINING_GOAL = 0.25, 0.8


def photograph(seed: int) -> Image.Image:
    """An image of shapes and textures at all scales, whose JPEG file is as large as that of a photograph."""
    random = np.random.default_rng(seed)
    pixels = np.zeros((HEIGHT, WIDTH, 3))
    for cells in (2, 5, 12, 30, 80, 240):
        coarse = random.normal(128, 90 / cells**0.4, (cells * 3 // 4 + 1, cells, 3)).clip(0, 255)
        layer = Image.fromarray(coarse.astype(np.uint8)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        pixels += np.asarray(layer, dtype=np.float64) - 128
    return Image.fromarray((128 + pixels).clip(0, 255).astype(np.uint8))


def ours(kind: str, images: FileImages, number: int, deferred: bool = False) -> Callable[[], object]:
    """Loads the first images once, in each call with other draws; the views are those of `data/views=KIND`.

    Their bytes become normalised numbers, unless the colours are `deferred` to the device.
    """
    views = instantiate(OmegaConf.load(VIEWS / f"{kind}.yaml"))
    views = views.with_colours_left() if deferred else views
    samples, epochs = views.samples(Reader(images, "raise", 0), 0, seed=0), count()

    def load() -> None:
        epoch = next(epochs)
        for index in range(number):
            sample = samples[SampleKey(epoch, index)]
            if not deferred:
                sample["views"] = tuple(map(numbers, sample["views"]))

    return load


def numbers(view: Tensor) -> Tensor:
    """The float32 numbers that an encoder makes of the bytes (3, H, W) of a view before its first layer."""
    return (view.float() / 255 - MEANS) / DEVIATIONS


def theirs(load: Callable[[Path], object], images: FileImages, number: int) -> Callable[[], object]:
    """Loads the first images once with a published loader."""
    paths = [Path(images.image_name(index)) for index in range(number)]
    return lambda: [load(path) for path in paths]


def lightly_package() -> dict[str, Callable[[Path], object]]:
    """The loader of the installed package lightly; empty if it is not installed."""
    try:
        from lightly.transforms import SimSiamTransform  # type: ignore[import-not-found, unused-ignore]  # rarely installed
    except ImportError:
        return {}
    transform = SimSiamTransform()
    return {"lightly, its package": lambda path: transform(pillow(path))}


def segmentation_rows(images: FileImages, number: int, rounds: int) -> list[Row]:
    """A sample of segmentation, per image."""
    runs = {
        "release": theirs(release, images, number),
        "ours": ours("crop_and_whole", images, number),
        DEFERRED: ours("crop_and_whole", images, number, deferred=True),
    }
    times = per_image(runs, number, rounds)
    beside = times["release"]
    return [
        Row("release", beside),
        Row("ours", times["ours"], beside, SEGMENTATION_GOAL),
        Row(DEFERRED, times[DEFERRED], beside),
    ]


def pretraining_rows(images: FileImages, number: int, rounds: int) -> list[Row]:
    """The two views of pre-training, per image; ours is beside each of the others."""
    published = {"simsiam": simsiam, "lightly": lightly, **lightly_package()}
    runs = {name: theirs(load, images, number) for name, load in published.items()}
    runs |= {
        "ours": ours("two_crops", images, number),
        DEFERRED: ours("two_crops", images, number, deferred=True),
    }
    times = per_image(runs, number, rounds)
    rows = []
    for name in published:
        rows += [Row(name, times[name]), Row(f"ours beside {name}", times["ours"], times[name], PRETRAINING_GOAL)]
    return [*rows, Row(f"{DEFERRED} beside simsiam", times[DEFERRED], times["simsiam"])]


def per_image(runs: Mapping[str, Callable[[], object]], number: int, rounds: int) -> dict[str, Times]:
    """The times of one image, from runs over all of them in turn."""
    return {name: one.per(number) for name, one in in_turn(runs, rounds).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, help="a folder of images, at any depth")
    parser.add_argument("--images", type=int, default=24, help="number of images")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        if arguments.root is None:
            for index in range(arguments.images):
                photograph(index).save(Path(folder, f"{index}.jpg"), quality=92)
        images = FileImages(list_images(arguments.root or Path(folder)))
        number = min(len(images), arguments.images)
        size = sum(Path(images.image_name(index)).stat().st_size for index in range(number)) / number / 1e3
        print(f"{number} image files, {size:.0f} kB each on average; {machine()}\n\n{LEGEND}\n")
        print(times_table("a sample of segmentation", segmentation_rows(images, number, arguments.rounds)), end="\n\n")
        print(times_table("two views of pre-training", pretraining_rows(images, number, arguments.rounds)))


if __name__ == "__main__":
    main()
