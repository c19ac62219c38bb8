"""Functions in processes of their own: they keep their own state, and take turns."""

import os
from collections.abc import Callable
from functools import partial

import pytest

from benchmarks.elsewhere import elsewhere
from benchmarks.measuring import Seconds, in_turn


def counting(limit: int) -> Callable[[], None]:
    """A function that fails when it is called more than `limit` times in its process."""
    calls = []

    def run() -> None:
        calls.append(os.getpid())
        assert len(calls) <= limit

    return run


@pytest.mark.slow
def test_each_runs_in_a_process_of_its_own_and_measures_itself() -> None:
    with elsewhere({"a": partial(counting, 3), "b": partial(counting, 3)}) as runs:
        found = in_turn(runs, rounds=2)  # three calls of each
        assert all(isinstance(seconds, float) and seconds >= 0 for seconds in found["a"].wall + found["b"].processor)
    with elsewhere({"a": partial(counting, 0)}) as runs, pytest.raises(EOFError):  # a process that died answers no more
        runs["a"]()


def test_a_function_that_measured_itself_is_believed() -> None:
    found = in_turn({"far": lambda: Seconds(2.0, 3.0)}, rounds=1)["far"]
    assert (found.wall, found.processor) == ([2.0], [3.0])
