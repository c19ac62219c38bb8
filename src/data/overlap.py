"""Images that are in two sets: the same file, even where its paths differ or a copy of it lies in an archive."""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from src.data.images import Images
from src.images.reading import UnreadableFileError
from src.regular import open_regular

Identity = tuple[int, int]  # device and inode of a file


@runtime_checkable
class ArchivedImages(Images, Protocol):
    """Images that are no files: their bytes lie in an archive, see `src.data.shards.ShardImages`."""

    def content(self, index: int) -> bytes:
        """The bytes of the image's original file."""
        ...

    def content_size(self, index: int) -> int:
        """The number of these bytes."""
        ...


def shared_files(images: Images, others: Images) -> NDArray[np.intp]:
    """Indices of the images whose file is also a file of the others, even through links or other folders.

    There may be a million images, so the disk is asked only about images that can be shared: links, and files of the
    same name. A hard link under another name is not found. An image in an archive is shared if a file of the others
    has its name and its bytes; one that can't be read is not, which is reported when it is read to train on it.

    Args:
        images: the images to look up, such as the training images; may be many.
        others: fewer images, such as those that are scored.
    """
    paths = [others.image_name(index) for index in range(len(others))]
    if isinstance(images, ArchivedImages):
        return _shared_copies(images, paths)
    names = {os.path.basename(path) for each in paths for path in (each, os.path.realpath(each))}
    identities = {_identity(path) for path in paths} - {None}
    links: dict[str, set[str]] = {}  # the links in each folder
    found = []
    for index in range(len(images)):
        path = images.image_name(index)
        folder, name = os.path.split(path)
        if folder not in links:
            links[folder] = _links_in(folder)
        if (name in names or name in links[folder]) and _identity(path) in identities:
            found.append(index)
    return np.array(found, dtype=np.intp)


def _shared_copies(images: ArchivedImages, paths: Iterable[str]) -> NDArray[np.intp]:
    named = defaultdict[str, list[str]](list)
    for path in paths:
        for name in {os.path.basename(path), os.path.basename(os.path.realpath(path))}:
            named[name].append(path)

    def shared(index: int) -> bool:
        size = images.content_size(index)
        same = [path for path in named.get(os.path.basename(images.image_name(index)), ()) if _size(path) == size]
        content = _stored(images, index) if same else None
        return content is not None and any(_content(path) == content for path in same)

    return np.array([index for index in range(len(images)) if shared(index)], dtype=np.intp)


def _stored(images: ArchivedImages, index: int) -> bytes | None:
    try:
        return images.content(index)
    except UnreadableFileError:
        return None


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _content(path: str) -> bytes | None:
    try:
        with open_regular(Path(path)) as file:
            return file.read()
    except OSError:
        return None


def _identity(path: str) -> Identity | None:
    """None where there is no such file: it is missing, or the image is generated."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _links_in(folder: str) -> set[str]:
    try:
        with os.scandir(folder or ".") as entries:
            return {entry.name for entry in entries if entry.is_symlink()}
    except OSError:
        return set()


def warn_of_overlap(names: Iterable[str], use: str = "trained on") -> None:
    """Warn that some images are both scored and used in another way.

    Args:
        names: the names of these images; no warning if there are none.
        use: what the images are used for, besides scoring.
    """
    shared = sorted(set(names))
    if shared:
        rank_zero_warn(
            f"images both {use} and scored: {len(shared)}, such as {shared[0]}; scores of unseen images may be lower"
        )
