"""What a million images cost before the first batch: seconds until they are listed, and memory of each loader worker.

Makes empty files in a temporary folder, lists them as one Path per file and as the data sets do, each time in a fresh
process, and has a DataLoader's workers build every path. However few the files are, as many paths are built as for
all of them, so that rows differ by the number of files alone:
    python scripts/benchmark_listing.py --files 1000000 --workers 2
"""

import argparse
import multiprocessing
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader, Dataset

from src.data.formats import SUFFIXES
from src.data.listing import RACY_NS, list_images

PER_FOLDER, BATCH_SIZE, MB = 1000, 512, 1e6
RUNS = (  # what is listed how, and how the workers are started; later starts find what the first one left
    ("one Path per file", "fork"),
    ("one Path per file", "forkserver"),
    ("FileList, first start", "fork"),
    ("FileList, later start", "fork"),
    ("FileList, later start", "forkserver"),
)
HEADINGS = ("files", "list", "workers", "ready after s", "index MB", "USS MB", "more than for 1 file", "PSS MB")


class Paths(Protocol):
    """What is measured: a list of Path, or a FileList."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Path: ...


class PathLengths(Dataset[int]):
    """Builds the path of a file as a data set does, without opening it; `reads` items, going round the files."""

    def __init__(self, paths: Paths, reads: int) -> None:
        self.paths, self.reads = paths, reads

    def __len__(self) -> int:
        return self.reads

    def __getitem__(self, index: int) -> int:
        return len(os.fspath(self.paths[index % len(self.paths)]))


@dataclass(frozen=True)
class Cost:
    """Of one start: seconds until the list is ready, bytes of its index, and bytes of a worker after an epoch.

    `private` is what a worker has for itself (USS); `proportional` adds its share of what several processes use (PSS).
    """

    seconds: float
    index: int
    private: float
    proportional: float


def make_files(root: Path, count: int) -> None:
    """Empty files, 1000 in a folder, called much as those of ImageNet are."""
    console = Console(stderr=True)
    for first in track(range(0, count, PER_FOLDER), f"making {count} files", console=console, transient=True):
        name = f"n{first:08}"
        (root / name).mkdir(parents=True)
        for index in range(first, min(first + PER_FOLDER, count)):
            (root / name / f"{name}_{index}.JPEG").touch()


def measure(packed: bool, start: str, root: Path, cache: Path, reads: int, workers: int) -> Cost:
    """List, start workers in one of multiprocessing's ways, and read their mean memory after an epoch."""
    begin = time.perf_counter()
    paths: Paths = list_images(root, cache) if packed else plain_list(root)
    seconds = time.perf_counter() - begin
    loader = DataLoader(
        PathLengths(paths, reads),
        BATCH_SIZE,
        shuffle=True,
        num_workers=workers,
        persistent_workers=True,
        multiprocessing_context=start,
    )
    if sum(len(batch) for batch in loader) != reads:
        raise RuntimeError(f"the workers have not built {reads} paths")
    rollups = [Path(f"/proc/{child.pid}/smaps_rollup").read_text() for child in multiprocessing.active_children()]
    private, proportional = np.mean([worker_memory(rollup) for rollup in rollups], axis=0)
    index = sum(file.stat().st_size for file in cache.iterdir()) if packed else 0
    return Cost(seconds, index, float(private), float(proportional))


def plain_list(root: Path) -> list[Path]:
    """The usual way."""
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)


def worker_memory(rollup: str) -> tuple[int, int]:
    """Private and proportional bytes from the text of /proc/PID/smaps_rollup."""
    sizes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in rollup.splitlines()[1:])}
    return 1024 * (sizes["Private_Clean"] + sizes["Private_Dirty"]), 1024 * sizes["Pss"]


def measurements(files: int, folder: Path, workers: int) -> Iterator[tuple[int, list[Cost]]]:
    """For 1 file, a tenth and all of them: what each of `RUNS` costs."""
    for count in sorted({1, max(1, files // 10), files}):
        root, cache = folder / f"files{count}", folder / f"cache{count}"
        make_files(root, count)
        time.sleep(RACY_NS / 1e9)  # folders younger than this would be listed again
        costs = []
        for name, start in RUNS:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
                packed = name.startswith("FileList")
                costs.append(fresh.submit(measure, packed, start, root, cache, files, workers).result())
        yield count, costs


def table(measured: Sequence[tuple[int, Sequence[Cost]]]) -> str:
    """In Markdown, one row for each run; the first entry tells how much memory is the worker's own anyway."""
    lines = [f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
    for count, costs in measured:
        for (name, start), cost, least in zip(RUNS, costs, measured[0][1], strict=True):
            sizes = [cost.private, cost.private - least.private, cost.proportional]
            cells = [f"{count:,}", name, start, f"{cost.seconds:.2f}", f"{cost.index / MB:.1f}" if cost.index else "-"]
            lines.append(f"| {' | '.join([*cells, *(f'{size / MB:.1f}' for size in sizes)])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000, help="how many; a tenth of it is measured as well")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; the files go into a new folder in it")
    parser.add_argument("--workers", type=int, default=2, help="of the DataLoader")
    arguments = parser.parse_args()
    if not Path("/proc/self/smaps_rollup").exists():
        parser.error("expected Linux: the memory of a process is read from /proc, which this system does not have")
    if arguments.files < 1 or arguments.workers < 1:
        parser.error(f"expected at least 1 file and 1 worker, got {arguments.files} and {arguments.workers}")
    with tempfile.TemporaryDirectory(prefix="listing", dir=arguments.folder) as folder:
        print(table(list(measurements(arguments.files, Path(folder), arguments.workers))))
    print(
        f"\n{arguments.workers} workers; {platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"
    )


if __name__ == "__main__":
    main()
