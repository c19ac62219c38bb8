"""Images in a few large files: `data=shards`, for data sets of a million images.

A shard is an uncompressed tar archive, which every tool for tar and WebDataset can read. The bytes of the images are
those of the original files. Beside each shard lies its index, plain arrays, so that any image can be read at once, in
any order. `scripts/make_shards.py` writes both, and then `shards.json`, which says that nothing is missing.
"""

import json
import os
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Unpack

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load

from src.data.checks import existing_root
from src.data.datamodule import ImageData, Loading
from src.errors import DenseSiamError
from src.images.file_list import FileList
from src.images.reading import UnreadableFileError, open_image
from src.regular import open_regular, read_text

FORMAT = 1
SUMMARY = "shards.json"
LAYOUT = f"{SUMMARY}, images-000000.tar, images-000000.index, ..., as scripts/make_shards.py writes them"
ARRAYS = {"offset": np.int64, "size": np.int64, "crc": np.uint32, "ends": np.int64, "names": np.uint8, "tar": np.int64}
LARGEST = 2**30  # bytes of an image; one read gets at most about 2 GiB
KEPT_OPEN = 256  # files; many systems allow a process 1,024
ANEW = "take another copy of the folder, or make it again with scripts/make_shards.py"


def tar_path(root: Path, number: int) -> Path:
    """The path of a shard."""
    return root / f"images-{number:06d}.tar"


def index_path(root: Path, number: int) -> Path:
    """The path of the index of a shard."""
    return root / f"images-{number:06d}.index"


@dataclass(frozen=True)
class Shard:
    """The images of one archive.

    Args:
        names: path of each image, as if the archive were a folder.
        offset, size: (N,) int64, where the bytes of each image begin in the archive, and their number.
        crc: (N,) uint32, `zlib.crc32` of these bytes.
    """

    names: FileList
    offset: NDArray[np.int64]
    size: NDArray[np.int64]
    crc: NDArray[np.uint32]


def read_shards(root: Path) -> list[Shard]:
    """The indices of all shards in a folder. The archives are not read.

    Raises:
        DenseSiamError: the folder is incomplete or damaged, or holds anything but what `make_shards.py` writes.
    """
    images, count, left_out = _read_summary(root)
    numbers = (number for number in range(count + len(left_out)) if number not in left_out)
    shards = [read_shard(root, number) for number in numbers]
    found = sum(len(shard.names) for shard in shards)
    if found != images:
        raise DenseSiamError(f"the shards in {root} hold {found} images: expected {images}, as {SUMMARY} says; {ANEW}")
    return shards


def _read_summary(root: Path) -> tuple[int, int, set[int]]:
    """Number of images and of shards, and the numbers that no shard has, because none of its images could be read."""
    path = root / SUMMARY
    if not path.is_file():
        raise DenseSiamError(
            f"there is no file {path}: expected {LAYOUT}; if making the shards was interrupted, give its command again"
        )
    try:
        found = json.loads(read_text(path))
        numbers = [found[name] for name in ("format", "images", "shards")]
        if any(type(each) is not int or each < 1 for each in numbers):
            raise ValueError(f"{numbers} are no counts")
        left_out = found.get("left_out", [])
        end = found["shards"] + len(left_out)
        if any(type(each) is not int or not 0 <= each < end for each in left_out) or len({*left_out}) < len(left_out):
            raise ValueError(f"{left_out} are no shards")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DenseSiamError(f"can't read {path} ({type(error).__name__}): expected {LAYOUT}; {ANEW}") from error
    if found["format"] != FORMAT:
        raise DenseSiamError(f"{path} has format {found['format']}: expected {FORMAT}; {ANEW}")
    return found["images"], found["shards"], set(left_out)


def read_shard(root: Path, number: int) -> Shard:
    """The index of one shard, checked against the size of its archive.

    Raises:
        DenseSiamError: one of the two files is missing, damaged, a link out of the folder, or of another kind.
    """
    path, archive = index_path(root, number), tar_path(root, number)
    for each in (path, archive):
        if not os.path.realpath(each).startswith(os.path.join(os.path.realpath(root), "")):
            raise DenseSiamError(f"{each} is a link that leaves its folder: expected a file; {ANEW}")
    try:
        with open_regular(path) as file, open_regular(archive) as whole:
            there = os.fstat(whole.fileno()).st_size
            arrays = load(file.read(LARGEST))
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        said = (isinstance(error, OSError) and error.strerror) or "it is no index of a shard"
        raise DenseSiamError(f"can't read {path} and its archive ({said}): expected both; {ANEW}") from error
    fault = _fault(arrays, there)
    if fault:
        raise DenseSiamError(f"{path} does not fit its archive ({fault}): {ANEW}")
    names = FileList(archive, arrays["ends"], arrays["names"])
    return Shard(names, arrays["offset"], arrays["size"], arrays["crc"])


def _fault(arrays: dict[str, NDArray[np.generic]], there: int) -> str:
    """Why an index can't be right, "" if it can.

    Args:
        arrays: content of the index.
        there: number of bytes of the archive.
    """
    if {name: array.dtype for name, array in arrays.items()} != ARRAYS or any(x.ndim != 1 for x in arrays.values()):
        return "it holds other arrays"
    offset, size, ends = (arrays[name].astype(np.int64) for name in ("offset", "size", "ends"))
    if not len(offset) == len(size) == len(arrays["crc"]) == len(ends) > 0:
        return "its arrays differ in length"
    if arrays["tar"].tolist() != [there]:
        return f"{there:,} bytes, expected {', '.join(f'{size:,}' for size in arrays['tar'].tolist())}"
    if (np.diff(ends, prepend=0) < 1).any() or ends[-1] != len(arrays["names"]):
        return "its names are damaged"
    if (offset < 0).any() or (size < 1).any() or (size > LARGEST).any() or (offset > there - size).any():
        return "an image lies outside of it"
    return ""


class OpenFiles:
    """Files that stay open for reading, at most `KEPT_OPEN` of them: opening is slow on network storage."""

    def __init__(self) -> None:
        self.files: OrderedDict[Path, BinaryIO] = OrderedDict()

    def __reduce__(self) -> tuple[type["OpenFiles"], tuple[()]]:
        return OpenFiles, ()  # a spawned process opens its own

    def __del__(self) -> None:
        for file in self.files.values():
            file.close()

    def read(self, path: Path, offset: int, size: int) -> bytes:
        """Some bytes of a file, fewer at its end.

        Raises:
            OSError: the file can't be read.
        """
        file = self.files.pop(path, None) or open_regular(path)
        self.files[path] = file
        if len(self.files) > KEPT_OPEN:
            self.files.popitem(last=False)[1].close()
        return os.pread(file.fileno(), size, offset)  # not seek: forked processes share the position


class ShardImages:
    """The images of some shards."""

    def __init__(self, shards: list[Shard]) -> None:
        self.shards, self.files = shards, OpenFiles()
        self.ends = np.cumsum([len(shard.names) for shard in shards])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def image(self, index: int) -> Image.Image:
        return open_image(Path(self.image_name(index)), content=self.content(index))

    def reduced_image(self, index: int, least: int) -> Image.Image:
        return open_image(Path(self.image_name(index)), least, self.content(index))

    def content(self, index: int) -> bytes:
        """The bytes of the image's original file.

        Raises:
            UnreadableFileError: the shard can't be read, or holds other bytes than were written.
        """
        shard, place = self._find(index)
        try:
            content = self.files.read(shard.names.root, int(shard.offset[place]), int(shard.size[place]))
        except OSError as error:
            raise UnreadableFileError(f"can't read {self.image_name(index)} ({error.strerror}): {ANEW}") from error
        if zlib.crc32(content) != shard.crc[place]:
            raise UnreadableFileError(f"{self.image_name(index)} is damaged (other bytes than were written): {ANEW}")
        return content

    def content_size(self, index: int) -> int:
        """The number of bytes of the image's original file."""
        shard, place = self._find(index)
        return int(shard.size[place])

    def image_name(self, index: int) -> str:
        shard, place = self._find(index)
        return str(shard.names[place])

    def _find(self, index: int) -> tuple[Shard, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        number = int(np.searchsorted(self.ends, index, side="right"))
        return self.shards[number], index - int(self.ends[number - 1]) if number else index


class Shards(ImageData):
    """`data=shards`: trains on all images of a folder that `scripts/make_shards.py` wrote.

    Args:
        root: the folder.
        loading: see `ImageData`.

    Raises:
        DenseSiamError: there is no such folder, or, when the images are listed, see `read_shards`.
    """

    def __init__(self, root: str, **loading: Unpack[Loading]) -> None:
        folder = existing_root(root, LAYOUT)
        super().__init__(train=lambda: ShardImages(read_shards(folder)), val=None, classes=(), **loading)
