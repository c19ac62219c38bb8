"""Images that are in two sets: the same file, even where its paths differ."""

import os
from collections.abc import Iterable

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from src.data.images import Images

Identity = tuple[int, int]  # device and inode of a file


def shared_files(images: Images, others: Images) -> NDArray[np.intp]:
    """Indices of the images whose file is also a file of the others, even through links or other folders.

    There may be a million images, so the disk is asked only about images that can be shared: links, and files of the
    same name. A hard link under another name is not found.

    Args:
        images: the images to look up, such as the training images; may be many.
        others: fewer images, such as those that are scored.
    """
    paths = [others.image_name(index) for index in range(len(others))]
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
