"""Stores the paths of a million files without a Python object for each."""

import os
from array import array
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class FileList:
    """Paths below a folder, packed into two arrays, which forked loader processes share with the main process.

    A list of a million `Path` objects would be copied into each process, because reading a Python object changes its
    reference count and so its page of memory.

    Args:
        root: the folder that the names are relative to.
        ends: (N,) int64, the positions in `names` at which each name ends.
        names: uint8, the names one after another, in the encoding of the file system.
    """

    def __init__(self, root: Path, ends: NDArray[np.int64], names: NDArray[np.uint8]) -> None:
        self.root, self.ends, self.names = root, ends, names

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
