"""Paths of a million files without a Python object for each, and the file that keeps them between runs.

Such an index is a line of JSON (how many names of how many bytes, and their checksum), the ends of the names, the
names, and whatever the writer wants to remember about them, as JSON. All processes map it into memory and share it.
"""

import json
import mmap
import os
import uuid
import zlib
from array import array
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.data.regular import open_regular
from src.errors import DenseSiamError

DAMAGED = (OSError, ValueError, KeyError, TypeError)  # what reading something else than a whole index raises


class FileList:
    """Paths below a folder, packed into two arrays.

    Args:
        root: what the names are relative to.
        ends: (N,) int64, where in `names` each name ends.
        names: uint8, the names one after another as the file system spells them.
        index: the file that both are mapped from, and its checksum; a pickle holds these instead of the names.
    """

    def __init__(
        self, root: Path, ends: NDArray[np.int64], names: NDArray[np.uint8], index: tuple[Path, int] | None = None
    ) -> None:
        self.root, self.ends, self.names, self.index = root, ends, names, index

    @classmethod
    def from_names(cls, root: Path, names: Iterable[str]) -> "FileList":
        """Pack names relative to `root`."""
        packed, ends = bytearray(), array("q")
        for name in names:
            packed += os.fsencode(name)
            ends.append(len(packed))
        return cls(root, np.frombuffer(ends, np.int64), np.frombuffer(packed, np.uint8))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> Path:
        if not -len(self) <= index < len(self):
            raise IndexError(f"file {index} of {len(self)}")
        place = index % len(self)
        start = self.ends[place - 1] if place else 0
        return self.root / os.fsdecode(self.names[start : self.ends[place]].tobytes())

    def __reduce__(self) -> tuple[Callable[..., "FileList"], tuple[Any, ...]]:
        return (reopen, (self.root, *self.index)) if self.index else (FileList, (self.root, self.ends, self.names))

    def checksum(self) -> int:
        """Of all names, in order."""
        return zlib.crc32(self.names.data, zlib.crc32(self.ends.data))


def write_index(path: Path, files: FileList, about: Any) -> FileList:
    """Write an index, all of it or nothing, whoever else writes the same one; the list is then mapped from it.

    Raises:
        OSError: the file can't be written.
        DenseSiamError: see `reopen`.
    """
    checksum = files.checksum()
    head = {"files": len(files), "bytes": len(files.names), "checksum": checksum}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{uuid.uuid4().hex}")
    try:
        with part.open("xb") as file:
            file.write(f"{json.dumps(head)}\n".encode())
            file.write(files.ends.data)
            file.write(files.names.data)
            file.write(json.dumps(about).encode())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return reopen(files.root, path, checksum)


def read_index(path: Path, root: Path) -> tuple[FileList, Any] | None:
    """The list in an index and what was remembered about it; None if there is no such file or it is damaged."""
    try:
        files, mapped = _map(path, root)
        about = json.loads(mapped.read())
        return (files, about) if files.index == (path, files.checksum()) else None
    except DAMAGED:
        return None


def reopen(root: Path, path: Path, checksum: int) -> FileList:
    """The list in an index that this run has written or read before, perhaps in another process.

    Raises:
        DenseSiamError: the index is gone, or holds other names by now.
    """
    expected = f"expected the index {path} as this run wrote or found it"
    try:
        files, _ = _map(path, root)
    except DAMAGED as error:
        raise DenseSiamError(f"{expected}, but can't read it ({error}): start again") from error
    if files.index != (path, checksum):
        raise DenseSiamError(f"{expected}, but it changed, as files below {root} must have: start again")
    return files


def _map(path: Path, root: Path) -> tuple[FileList, mmap.mmap]:
    """The list in an index, and the mapped file, to be read on from where the names end."""
    with open_regular(path) as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    head = json.loads(mapped.readline())
    ends = np.frombuffer(mapped, np.int64, head["files"], mapped.tell())
    names = np.frombuffer(mapped, np.uint8, head["bytes"], mapped.tell() + ends.nbytes)
    mapped.seek(ends.nbytes + names.nbytes, os.SEEK_CUR)
    return FileList(root, ends, names, (path, head["checksum"])), mapped
