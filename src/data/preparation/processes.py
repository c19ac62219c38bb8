"""Calls of one function for many items, in several processes, with a progress bar."""

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

FEW = 500  # fewer files take less time than starting processes does
CHUNK = 16  # number of files that a process gets at once


def for_each(
    function: Callable[[T], R],
    items: Sequence[T],
    workers: int,
    description: str,
    few: int = FEW,
    chunk: int = CHUNK,
) -> list[R]:
    """Call a function once for each item.

    Args:
        function: a function at the top level of a module, because other processes find it by its name.
        items: arguments of the calls.
        workers: number of processes; with 1, or with few items, the function runs in this process.
        description: text of the progress bar, which is shown on stderr if that is a terminal.
        few: fewer items run in this process.
        chunk: number of items that a process gets at once.

    Returns:
        The results, in the order of the items.

    Raises:
        DenseSiamError: a process was killed, most often because memory ran out.
    """
    many = workers > 1 and len(items) >= few
    results = _in_processes(function, items, workers, chunk) if many else map(function, items)
    console = Console(stderr=True)
    hidden = not console.is_terminal
    try:
        return list(track(results, description, len(items), console=console, transient=True, disable=hidden))
    except BrokenProcessPool as error:
        raise DenseSiamError(
            f"one of {workers} processes died while {description}: expected enough memory for all; lower --workers"
        ) from error


def _in_processes(function: Callable[[T], R], items: Sequence[T], workers: int, chunk: int) -> Iterator[R]:
    # Spawned: a fork is not safe while the progress bar has a thread. Only the parent answers Ctrl-C.
    context, ignored = get_context("spawn"), (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(workers, context, initializer=signal.signal, initargs=ignored) as pool:
        yield from pool.map(function, items, chunksize=chunk)
