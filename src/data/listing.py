"""Which files a data set has: all images below a folder, listed once and kept as an index, or those of a list."""

import hashlib
import json
import os
import posixpath
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from src.data.file_list import FileList, read_index, write_index
from src.data.formats import SUFFIXES
from src.data.regular import read_text
from src.errors import DenseSiamError

RACY_NS = 2_000_000_000  # a file system's clock may be this coarse: what changes right after a listing can look older


def list_images(root: Path, cache: Path | None) -> FileList:
    """The images in a folder and all folders below it.

    In each folder first its images, then its folders, both sorted. Names that begin with a dot are left out. Links are
    followed, but no folder is listed twice; links that lead nowhere are counted in a warning.

    Args:
        root: the folder.
        cache: folder for the index, outside the root. The index serves until a folder below the root changes. If it
            can't be written, a warning says so. None lists anew each time.

    Raises:
        DenseSiamError: the root is no folder or holds no image, or a folder can't be read.
    """
    if not root.is_dir():
        raise DenseSiamError(f"expected a folder of images, but {root} is no folder: give one that exists")
    listed = {"version": 1, "root": os.path.realpath(root), "suffixes": list(SUFFIXES)}
    index = cache / f"{hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:24]}.index" if cache else None
    if index and (kept := read_index(index, root)) and _is_current(kept[1], root, listed):
        return kept[0]
    walk = Walk(root)
    files = FileList.from_names(root, walk)
    if walk.broken:
        rank_zero_warn(f"{root} holds {len(walk.broken)} links that lead nowhere, the first is {walk.broken[0]}")
    if not len(files):
        found = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in walk.others.most_common(3))
        raise DenseSiamError(
            f"expected images below {root}, but found {walk.others.total()} other files"
            f"{f' ({found})' if found else ''}: the names of images end in {' '.join(SUFFIXES)}"
        )
    if index is None:
        return files
    try:
        return write_index(index, files, {"listed": listed, "stamps": walk.stamps})
    except OSError as error:
        rank_zero_warn(f"can't write the index of {root} ({error}): each start will list the folder anew")
        return files


def _is_current(about: dict[str, Any], root: Path, listed: dict[str, Any]) -> bool:
    """Whether an index is about `listed`, and no folder that was walked has changed since."""
    if about.get("listed") != listed:
        return False
    try:
        return all(then == stamp(os.stat(os.path.join(root, folder))) for folder, then in about["stamps"].items())
    except OSError:
        return False


class Walk:
    """The images below a folder, one folder's names in memory at a time; afterwards also what else was there.

    `stamps` has each folder's stamp, None where it can't be trusted later; `others` counts other files by suffix;
    `broken` names the links that lead nowhere.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stamps: dict[str, int | None] = {}
        self.others: Counter[str] = Counter()
        self.broken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        waiting, seen = [""], set()
        while waiting:
            folder = waiting.pop()
            path = os.path.join(self.root, folder)
            try:
                status = os.stat(path)
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                images, folders = self._read(path, folder, stamp(status))
            except OSError as error:
                raise DenseSiamError(f"can't list the folder {path} ({error.strerror}): make it readable") from error
            yield from sorted(images)
            waiting += sorted(folders, reverse=True)

    def _read(self, path: str, folder: str, changed: int) -> tuple[list[str], list[str]]:
        """Names of the images and of the folders in one folder."""
        images, folders, prefix = [], [], f"{folder}/" if folder else ""
        self.stamps[folder] = changed if time.time_ns() - changed >= RACY_NS else None
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                name = prefix + entry.name
                if entry.is_symlink() and not os.path.exists(entry.path):
                    self.broken.append(name)
                    self.stamps[folder] = None  # the disk it points to may come back, which changes no folder here
                elif entry.is_dir():
                    folders.append(name)
                elif name.lower().endswith(SUFFIXES) and entry.is_file():
                    images.append(name)
                else:
                    self.others[os.path.splitext(name)[1].lower()] += 1
        return images, folders


def stamp(status: os.stat_result) -> int:
    """When a folder's entries last changed, in ns. By ctime as well: unpacking an archive sets mtime back."""
    return max(status.st_mtime_ns, status.st_ctime_ns)


def read_list(path: Path) -> list[str]:
    """The names in a text file, one a line, without surrounding blanks and each once.

    Raises:
        DenseSiamError: the file is missing, not UTF-8 or empty, or a name leads out of the folder it is relative to.
    """
    expected = "expected UTF-8 text, one file name a line"
    try:
        lines = [line.strip() for line in read_text(path).split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise DenseSiamError(f"can't read the list {path} ({error}): {expected}") from error
    names: Counter[str] = Counter()  # keeps their order
    for number, line in enumerate(lines, start=1):
        name = posixpath.normpath(line) if line else ""
        if name == ".." or name.startswith(("/", "../")):
            raise DenseSiamError(f"line {number} of {path} is {line}: expected a name relative to the data's folder")
        names[name] += 1
    del names[""]
    if not names:
        raise DenseSiamError(f"the list {path} is empty: {expected}")
    if repeated := names.total() - len(names):
        first = next(name for name, count in names.items() if count > 1)
        rank_zero_warn(f"{path} repeats {repeated} names, the first is {first}: each file counts once")
    return list(names)


def listed_images(root: Path, names: Sequence[str]) -> FileList:
    """The files of a list that exist; the others are counted in a warning.

    Args:
        root: what the names are relative to.
        names: at least one.

    Raises:
        DenseSiamError: none of them exists.
    """
    there = [os.path.isfile(os.path.join(root, name)) for name in names]
    missing = f"such as {names[there.index(False)]}" if not all(there) else ""
    if not any(there):
        raise DenseSiamError(f"{root} holds none of the {len(names)} listed files, {missing}: check folder and list")
    if missing:
        rank_zero_warn(f"{root} lacks {there.count(False)} of the {len(names)} listed files, {missing}")
    return FileList.from_names(root, compress(names, there))
