"""Reading images in loader processes, and what happens when an image can't be read."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import active_children
from multiprocessing.connection import wait
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from src.data.images import Images, ReducibleImages
from src.errors import DenseSiamError
from src.images.reading import UnreadableFileError

OnCorrupt = Literal["raise", "skip"]
ATTEMPTS = 10
T = TypeVar("T")


class Reader:
    """Reads the images of a set, in this process or in loader processes.

    Args:
        images: the set.
        on_corrupt: `raise` stops at an image that can't be read; `skip` returns another image instead, and the error.
        num_workers: number of loader processes that share this reader.
    """

    def __init__(self, images: Images, on_corrupt: OnCorrupt, num_workers: int) -> None:
        self.images, self.on_corrupt = images, on_corrupt
        # Process id, and index of the image that it reads. Shared memory, so that it can be read after a process died.
        rows = (max(1, num_workers), 2)
        self.reading: Tensor = torch.full(rows, -1, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return len(self.images)

    def begin(self, index: int) -> None:
        """Remember which image this loader process reads now."""
        worker = get_worker_info()
        if worker is not None:
            self.reading[worker.id] = torch.tensor([os.getpid(), index])

    def image_or_other(self, index: int, seed: int, least: int | None = None) -> tuple[Image.Image, str]:
        """Read an image, or another one instead, see `read_or_other`; with `least`, reduced where the set can do it."""
        if least is not None and isinstance(self.images, ReducibleImages):
            return self.read_or_other(partial(self.images.reduced_image, least=least), index, seed)
        return self.read_or_other(self.images.image, index, seed)

    def read_or_other(self, read: Callable[[int], T], index: int, seed: int) -> tuple[T, str]:
        """Read what belongs to an image; if it can't be read and `on_corrupt` is `skip`, that of a random other image.

        Args:
            read: reads what belongs to the image with an index.
            index: index of the image.
            seed: seed of the draw of the other image.

        Returns:
            What was read, and the error of the image at `index`: "" if it could be read.

        Raises:
            UnreadableFileError: the sample can't be read and `on_corrupt` is `raise`.
            DenseSiamError: `on_corrupt` is `skip`, and `ATTEMPTS` other samples can't be read either.
        """
        self.begin(index)
        try:
            return read(index), ""
        except UnreadableFileError as error:
            if self.on_corrupt == "raise":
                raise
            fault = str(error)
        for other in np.random.default_rng(seed).integers(len(self.images), size=ATTEMPTS).tolist():
            self.begin(other)
            try:
                return read(other), fault
            except UnreadableFileError:
                continue
        raise DenseSiamError(
            f"{fault}; {ATTEMPTS} other images could not be read either: check that the disk is still there"
        )

    def last_read(self) -> str:
        """Names of the images that loader processes were reading when they died, joined by commas; "" if all live."""
        rows = [(process, index) for process, index in self.reading.tolist() if index >= 0]
        children = active_children()
        gone = wait([child.sentinel for child in children], timeout=1) if rows else []  # one may just be ending
        alive = {child.pid for child in children if child.sentinel not in gone}
        return ", ".join(self.images.image_name(index) for process, index in rows if process not in alive)


def leave_ctrl_c_to_the_main_process(worker: int) -> None:
    """Ignore Ctrl-C in a loader process: the main process may still need batches to finish its step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Loader(DataLoader[Any]):
    """A DataLoader whose error names the image that a loader process was reading when it died.

    It uses no numbers of the global random generators. It neither reads an image nor asks the sampler before the first
    batch is requested, because Lightning makes the iterator of a resumed run before it knows the epoch.

    Args:
        dataset: the dataset.
        reader: the reader that the dataset uses.
        options: further arguments of DataLoader.

    Raises:
        DenseSiamError: during iteration: a loader process was killed, most often because memory ran out.
    """

    def __init__(self, dataset: Any, reader: Reader, **options: Any) -> None:
        self.reader = reader
        seeds = torch.Generator()  # torch draws the workers' seeds from it; samples have seeds of their own
        super().__init__(dataset, generator=seeds, worker_init_fn=leave_ctrl_c_to_the_main_process, **options)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        batches = super().__iter__()
        if self.num_workers and threading.current_thread() is threading.main_thread() and os.name == "posix":
            # When a loader process dies, torch's handler would raise at any place in the main process. Without the
            # handler, the code below notices it within 5 seconds, while it waits for the next batch.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            yield from batches
        except DenseSiamError as error:
            raise DenseSiamError(own_words(error)) from None
        except (RuntimeError, EOFError, OSError) as error:  # the type depends on the place where torch notices it
            names = self.reader.last_read()
            if not names:
                raise
            said = str(error).partition("\n")[0] or type(error).__name__
            raise DenseSiamError(
                f"a loader process died while it read {names} ({said}): look at that file and at the memory "
                "(data.num_workers=0 reads in the main process)"
            ) from error


def own_words(error: DenseSiamError) -> str:
    """The message of an error, without the traceback that a DataLoader puts before the message of a worker's error."""
    return str(error).rsplit(f"{type(error).__name__}: ", 1)[-1].removesuffix(r"\n")
