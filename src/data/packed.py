"""Many byte strings in two arrays, which forked loader processes share with the main process."""

from array import array
from collections.abc import Iterable

import numpy as np


class Packed:
    """Byte strings one after another; see `src.images.file_list.FileList` for the reason."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        content, ends = bytearray(), array("q", [0])
        for part in parts:
            content += part
            ends.append(len(content))
        self.content, self.ends = np.frombuffer(content, np.uint8), np.frombuffer(ends, np.int64)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, index: int) -> bytes:
        return self.content[self.ends[index] : self.ends[index + 1]].tobytes()
