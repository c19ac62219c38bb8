"""Reading many images: plain files, our shards (tar with an index), LitData and WebDataset.

Training needs the images in a given random order, which a resumed run continues at any place. Files, our shards and
LitData are read in such an order. WebDataset is a stream, so it is read in the order of its shuffle buffer.
Both libraries are measured where they are installed: pip install litdata webdataset
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.generated import write_images
from benchmarks.measuring import Times, in_turn, machine, markdown, spread
from src.console import hush_libraries
from src.data.preparation.sharding import make_shards
from src.data.shards import ShardImages, read_shards
from src.images.listing import list_images
from src.images.reading import open_image

SIZE = (500, 375)  # the most frequent size of ImageNet
BUFFER = 1000
Contents = Callable[[], Iterable[bytes]]


def readers(root: Path, per_shard: int) -> dict[str, Contents]:
    """What is compared: functions that return the bytes of every image, in a new random order each time.

    Args:
        root: folder with `images`; the shards are written beside it.
        per_shard: number of images in a shard.
    """
    files = list_images(root / "images")
    make_shards(files, root / "shards", per_shard, skip=False, workers=1)
    shards = ShardImages(read_shards(root / "shards"))
    orders = (np.random.default_rng(seed).permutation(len(files)).tolist() for seed in count())
    found: dict[str, Contents] = {
        "plain files": lambda: (files[index].read_bytes() for index in next(orders)),
        "tar with an index (`data=shards`)": lambda: map(shards.content, next(orders)),
    }
    if find_spec("litdata"):
        by_index = _litdata([str(files[index]) for index in range(len(files))], root / "litdata", per_shard)
        found["LitData, by index"] = lambda: map(by_index, next(orders))
    if find_spec("webdataset"):
        tars = [str(path) for path in sorted((root / "shards").glob("*.tar"))]
        found[f"WebDataset, shuffle buffer of {BUFFER}"] = lambda: _webdataset(tars)
    return found


def _litdata(paths: Sequence[str], folder: Path, per_shard: int) -> Callable[[int], bytes]:
    from litdata import StreamingDataset
    from litdata.streaming import Cache

    cache = Cache(str(folder), chunk_size=per_shard)
    for number, path in enumerate(paths):
        cache[number] = Path(path).read_bytes()
    cache.done()
    cache.merge()
    return StreamingDataset(str(folder)).__getitem__


def _webdataset(tars: Sequence[str]) -> Iterator[bytes]:
    from webdataset import WebDataset

    return (sample["jpg"] for sample in WebDataset(list(tars), shardshuffle=len(tars)).shuffle(BUFFER))


def forget(folder: Path) -> None:
    """Let the system drop its copies of all files in memory, so that they are read from the disk again."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())  # what is not on the disk yet can't be dropped
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def table(what: str, times: dict[str, Times], images: int) -> str:
    """Milliseconds of the processor and of the clock for an image, and images per second."""
    rows = []
    for name, all_images in times.items():
        each = all_images.per(images)
        clocks = [spread([1e3 * second for second in clock], 3) for clock in (each.processor, each.wall)]
        rows.append([name, *clocks, f"{1 / median(each.wall):,.0f}"])
    return markdown([what, "processor ms", "wall ms", "images per second"], rows)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--per-shard", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(words)
    hush_libraries()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_images(root / "images", options.images, SIZE)
        compared = readers(root, options.per_shard)

        def read(contents: Contents) -> None:
            assert sum(len(content) > 0 for content in contents()) == options.images

        def decode(contents: Contents) -> None:
            assert sum(open_image(root, content=content).width for content in contents()) == options.images * SIZE[0]

        runs = {name: lambda contents=contents: read(contents) for name, contents in compared.items()}
        decoded = {name: lambda contents=contents: decode(contents) for name, contents in compared.items()}
        print(table("bytes, files in memory", in_turn(runs, options.rounds), options.images), end="\n\n")
        cold = in_turn(runs, options.rounds, before=lambda: forget(root))
        print(table("bytes, files on the disk", cold, options.images), end="\n\n")
        print(table("bytes and decoding", in_turn(decoded, max(1, options.rounds // 2)), options.images), end="\n\n")
    absent = [name for name in ("litdata", "webdataset") if not find_spec(name)]
    if absent:
        print(f"not installed, so not measured: {', '.join(absent)}\n")
    print(f"{options.images} JPEG files of {SIZE[0]} x {SIZE[1]}, {options.per_shard} in a shard; {machine()}")


if __name__ == "__main__":
    main()
