"""Reading images in loader processes, and what happens when one can't be read."""

import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing import active_children
from multiprocessing.connection import wait
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from src.data.images import Images, UnreadableFileError
from src.errors import DenseSiamError

OnCorrupt = Literal["raise", "skip"]
ATTEMPTS = 10


class Reader:
    """Reads the images of a set, in this process or in loader processes.

    Args:
        images: the set.
        on_corrupt: `raise` stops at an image that can't be read; `skip` gives another one in its place and says so.
        num_workers: loader processes that share this reader.
    """

    def __init__(self, images: Images, on_corrupt: OnCorrupt, num_workers: int) -> None:
        self.images, self.on_corrupt = images, on_corrupt
        # Process id and the image it reads, in shared memory: a process that is killed can't say it any more.
        rows = (max(1, num_workers), 2)
        self.reading: Tensor = torch.full(rows, -1, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return len(self.images)

    def begin(self, index: int) -> None:
        """Remember which image this loader process reads now."""
        worker = get_worker_info()
        if worker is not None:
            self.reading[worker.id] = torch.tensor([os.getpid(), index])

    def image_or_other(self, index: int, seed: int) -> tuple[Image.Image, str]:
        """Read an image or, with `skip`, one drawn with `seed` in its place.

        Returns:
            The image, and what is wrong with the one asked for: empty if nothing is.

        Raises:
            UnreadableFileError: with `raise`.
            DenseSiamError: with `skip`, when `ATTEMPTS` others can't be read either.
        """
        self.begin(index)
        try:
            return self.images.image(index), ""
        except UnreadableFileError as error:
            if self.on_corrupt == "raise":
                raise
            fault = str(error)
        for other in np.random.default_rng(seed).integers(len(self.images), size=ATTEMPTS).tolist():
            self.begin(other)
            try:
                return self.images.image(other), fault
            except UnreadableFileError:
                continue
        raise DenseSiamError(f"{fault}; nor could any of {ATTEMPTS} others: is the disk still there?")

    def last_read(self) -> str:
        """Names of the images that loader processes were reading which are alive no more; empty if there are none."""
        rows = [(process, index) for process, index in self.reading.tolist() if index >= 0]
        children = active_children()
        gone = wait([child.sentinel for child in children], timeout=1) if rows else []  # its end may be a moment away
        alive = {child.pid for child in children if child.sentinel not in gone}
        return ", ".join(self.images.image_name(index) for process, index in rows if process not in alive)


def leave_ctrl_c_to_the_main_process(worker: int) -> None:
    """A terminal sends it to loader processes too, but the main process may need batches to end its step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Loader(DataLoader[Any]):
    """A DataLoader that names the image when one of its processes dies.

    It draws no number from the global generators. Nothing is read, and the sampler not asked, before the first batch is
    wanted: Lightning makes the iterator of a resumed run before it knows the epoch.

    Args:
        reader: of the dataset.
        options: of DataLoader.

    Raises:
        DenseSiamError: on iterating: a process was killed, most often for want of memory.
    """

    def __init__(self, dataset: Any, reader: Reader, **options: Any) -> None:
        self.reader = reader
        seeds = torch.Generator()  # of the processes; every sample has a seed of its own
        super().__init__(dataset, generator=seeds, worker_init_fn=leave_ctrl_c_to_the_main_process, **options)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        batches = super().__iter__()
        if self.num_workers and threading.current_thread() is threading.main_thread() and os.name == "posix":
            # Torch's handler would raise in the midst of whatever the main process does when a loader process dies.
            # Without it that is noticed, within 5 seconds, where the next batch is waited for: below.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            yield from batches
        except (RuntimeError, EOFError, OSError) as error:  # what torch raises then depends on where it noticed
            names = self.reader.last_read()
            if not names:
                raise
            said = str(error).partition("\n")[0] or type(error).__name__
            raise DenseSiamError(
                f"a loader process died while it read {names} ({said}): look at that file and at the memory "
                "(data.num_workers=0 reads in the main process)"
            ) from error
