"""Finds the files of a data set: all images below a folder, or those of a list."""

import os
import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import compress
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_warn

from src.errors import DenseSiamError
from src.images.file_list import FileList
from src.images.formats import SUFFIXES
from src.regular import read_text


def list_images(root: Path) -> FileList:
    """The images in a folder and all folders below it.

    For each folder, its images come first and then its folders, both sorted. Names that begin with a dot are left out.
    Links are followed, but no folder is listed twice; a warning counts the broken links.

    Raises:
        DenseSiamError: the root is no folder or holds no image, or a folder can't be read.
    """
    if not root.is_dir():
        raise DenseSiamError(f"expected a folder of images, but {root} is no folder: give one that exists")
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
    return files


class Walk:
    """Iterates over the images below a folder and holds the names of only one folder in memory at a time.

    After the iteration, `others` counts the other files by suffix, and `broken` names the broken links.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
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
                images, folders = self._read(path, folder)
            except OSError as error:
                raise DenseSiamError(f"can't list the folder {path} ({error.strerror}): make it readable") from error
            yield from sorted(images)
            waiting += sorted(folders, reverse=True)

    def _read(self, path: str, folder: str) -> tuple[list[str], list[str]]:
        """Names of the images and of the folders in one folder."""
        images, folders, prefix = [], [], f"{folder}/" if folder else ""
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                name = prefix + entry.name
                if entry.is_symlink() and not os.path.exists(entry.path):
                    self.broken.append(name)
                elif entry.is_dir():
                    folders.append(name)
                elif name.lower().endswith(SUFFIXES) and entry.is_file():
                    images.append(name)
                else:
                    self.others[os.path.splitext(name)[1].lower()] += 1
        return images, folders


def read_list(path: Path) -> list[str]:
    """The names in a text file with one name per line, without surrounding blanks and without repetitions.

    Raises:
        DenseSiamError: the file is missing, not UTF-8 or empty, or a name leads out of the folder it is relative to.
    """
    expected = "expected UTF-8 text, one file name a line"
    try:
        lines = [line.strip() for line in read_text(path).split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise DenseSiamError(f"can't read the list {path} ({error}): {expected}") from error
    names: Counter[str] = Counter()  # a Counter keeps the order of the names
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
    """The files of a list that exist; a warning counts the missing files.

    Args:
        root: the folder that the names are relative to.
        names: the listed names, at least one.

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
