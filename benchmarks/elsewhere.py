"""Functions that run in processes of their own: memory that one program has freed does not help another one."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.measuring import Seconds

Make = Callable[[], Callable[[], object]]


@contextmanager
def elsewhere(makes: Mapping[str, Make]) -> Iterator[dict[str, Callable[[], Seconds]]]:
    """Functions for `in_turn`, each of which runs another one in a process of its own and returns its seconds.

    Args:
        makes: by name, a function without arguments that can be pickled; called in the process, it makes what runs
            there.
    """
    context, ends, processes = get_context("spawn"), dict[str, Any](), []
    for name, make in makes.items():
        ends[name], there = context.Pipe()
        processes.append(context.Process(target=_serve, args=(make, there), daemon=True))
        processes[-1].start()
        there.close()  # so that a process that has died ends the wait for its answer

    def asked(end: Connection) -> Seconds:
        end.send(True)
        found: Seconds = end.recv()
        return found

    try:
        yield {name: partial(asked, end) for name, end in ends.items()}
    finally:
        for end in ends.values():
            end.close()
        for process in processes:
            process.join()


def _serve(make: Make, end: Connection) -> None:
    run = make()
    while True:
        try:
            end.recv()
        except EOFError:
            return
        wall, processor = time.perf_counter(), time.process_time()
        run()
        end.send(Seconds(time.perf_counter() - wall, time.process_time() - processor))
