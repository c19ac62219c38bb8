"""Images that two sets share: the same files, whatever their paths are."""

import os
from collections.abc import Iterable

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from src.data.images import Images

Identity = tuple[int, int]  # of a file: its device and its number there


def shared_files(images: Images, others: Images) -> NDArray[np.intp]:
    """Numbers of the images whose files are also files of the others, by whatever links and folders both are reached.

    Of the images only those are looked at on the disk which can be meant, as there may be a million: links, and those
    of the same file name. A hard link under another name is not noticed.

    Args:
        images: may be many.
        others: few, such as those that are scored.
    """
    paths = [others.image_name(index) for index in range(len(others))]
    names = {os.path.basename(path) for each in paths for path in (each, os.path.realpath(each))}
    identities = {_identity(path) for path in paths} - {None}
    links: dict[str, set[str]] = {}  # of each folder
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
    """None where there is no such file: it is missing, or an image is generated."""
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
    """Warn of images, given by their names, that are scored and also used otherwise."""
    shared = sorted(set(names))
    if shared:
        rank_zero_warn(f"images both {use} and scored: {len(shared)}, such as {shared[0]}; no scores of unseen images")
