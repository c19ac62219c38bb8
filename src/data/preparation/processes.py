"""Doing one thing to many files, in several processes, with a progress bar."""

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from src.errors import DenseSiamError

T = TypeVar("T")
R = TypeVar("R")

FEW = 500  # files are done sooner than processes are started
CHUNK = 16  # files that are handed to a process at once


def for_each(function: Callable[[T], R], items: Sequence[T], workers: int, description: str) -> list[R]:
    """What a function gives for each item, in their order.

    Args:
        function: of a module's top level, as other processes find it by name.
        items: one call each.
        workers: processes; fewer than 2, or few items, run in this one.
        description: of the progress bar, which a terminal shows on stderr.

    Raises:
        DenseSiamError: a process was killed, most often for want of memory.
    """
    results = _in_processes(function, items, workers) if workers > 1 and len(items) >= FEW else map(function, items)
    console = Console(stderr=True)
    hidden = not console.is_terminal
    try:
        return list(track(results, description, len(items), console=console, transient=True, disable=hidden))
    except BrokenProcessPool as error:
        raise DenseSiamError(
            f"one of {workers} processes died while {description}: expected enough memory for all; lower --workers"
        ) from error


def _in_processes(function: Callable[[T], R], items: Sequence[T], workers: int) -> Iterator[R]:
    # Spawned, as a fork would copy the progress bar's thread; without Ctrl-C, which is the parent's to answer.
    context, ignored = get_context("spawn"), (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(workers, context, initializer=signal.signal, initargs=ignored) as pool:
        yield from pool.map(function, items, chunksize=CHUNK)
