"""Compares programs fairly: in turn, by processor time and by wall time, and marks the goals."""

import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

MEBIBYTE = 2**20


class Times(NamedTuple):
    """Seconds of each round: by the clock, and of the processor (all threads of this process together)."""

    wall: list[float]
    processor: list[float]

    def per(self, count: int) -> "Times":
        """The same for one of `count` equal parts."""
        return Times([each / count for each in self.wall], [each / count for each in self.processor])


class Seconds(NamedTuple):
    """Seconds of one run; a function that measures itself, as one in another process does, returns them."""

    wall: float
    processor: float


class Row(NamedTuple):
    """A line of a table of times.

    Attributes:
        name: what was measured.
        times: its times.
        beside: the times that it is compared with, round by round; None for what others are compared with.
        goal: the ratio of the processor times that it may have at most; None if there is no goal.
    """

    name: str
    times: Times
    beside: Times | None = None
    goal: float | None = None


def in_turn(
    runs: Mapping[str, Callable[[], object]], rounds: int, before: Callable[[], object] = lambda: None
) -> dict[str, Times]:
    """Run each function once per round, after one run of each that is not counted.

    Every second round has the reverse order, so that what slows the machine down for a while meets all of them.

    Args:
        runs: the functions; one that returns `Seconds` has measured itself.
        rounds: number of rounds.
        before: called before each run, not measured.
    """
    found = {name: Times([], []) for name in runs}
    for run in runs.values():
        run()
    for number in range(rounds):
        for name in list(runs)[:: -1 if number % 2 else 1]:
            before()
            wall, processor = time.perf_counter(), time.process_time()
            result = runs[name]()
            here = Seconds(time.perf_counter() - wall, time.process_time() - processor)
            taken = result if isinstance(result, Seconds) else here
            found[name].wall.append(taken.wall)
            found[name].processor.append(taken.processor)
    return found


def peak_mebibytes(run: Callable[[], object]) -> float:
    """The largest amount of memory that torch's CPU allocator held during a run, beyond what it held before, in MiB.

    It counts every tensor, also those inside autograd, and does not depend on what malloc keeps.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    results = profiler.profiler.kineto_results if profiler.profiler else None
    assert results is not None
    held = peak = 0
    for event in sorted((each for each in results.events() if each.name() == "[memory]"), key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak / MEBIBYTE


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours as a multiple of theirs, each computed within a round."""
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


def verdict(found: float, goal: float | None) -> str:
    """`pass` or `short`, with the goal; "" if there is none."""
    return "" if goal is None else f"at most {goal:g}: {'pass' if found <= goal else '**short**'}"


def spread(values: Sequence[float], digits: int) -> str:
    """Median, and in brackets the smallest and the largest value."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows))


def times_table(what: str, rows: Sequence[Row]) -> str:
    """Milliseconds of each row, and its ratio to what it is compared with; the verdict is on the processor time.

    Args:
        what: heading of the first column.
        rows: the lines.
    """
    lines = []
    for row in rows:
        cells = [spread([1e3 * second for second in clock], 1) for clock in (row.times.processor, row.times.wall)]
        beside = row.beside
        if beside is None:
            lines.append([row.name, *cells, "1", "1", ""])
            continue
        found = ratios(row.times.processor, beside.processor)
        clock = ratios(row.times.wall, beside.wall)
        lines.append([row.name, *cells, spread(found, 2), spread(clock, 2), verdict(median(found), row.goal)])
    return markdown([what, "processor ms", "wall ms", "processor ratio", "wall ratio", "goal"], lines)


def machine() -> str:
    """What measured: processor, threads and versions."""
    names = [line.partition(":")[2].strip() for line in _processor_lines() if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return (
        f"{processor}, {torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def _processor_lines() -> list[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return file.read().splitlines()
    except OSError:  # no Linux
        return []
