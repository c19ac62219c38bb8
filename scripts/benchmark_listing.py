"""Cost of listing a million images: seconds until the list is ready, and memory of each loader process.

The script makes empty files in a temporary folder. In a new process each time, it lists them as one Path per file and
as the data sets do, and a DataLoader's workers build the paths. For every number of files, equally many paths are
built, so that the rows differ only in the number of files:
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
RUNS = (  # kind of list, and start method of the workers; later starts read the index that the first one wrote
    ("one Path per file", "fork"),
    ("one Path per file", "forkserver"),
    ("FileList, first start", "fork"),
    ("FileList, later start", "fork"),
    ("FileList, later start", "forkserver"),
)
HEADINGS = ("files", "list", "workers", "ready after s", "index MB", "USS MB", "more than for 1 file", "PSS MB")


class Paths(Protocol):
    """The list that is measured: a list of Path, or a FileList."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Path: ...


class PathLengths(Dataset[int]):
    """Builds the paths of files as a data set does, without opening them.

    Args:
        paths: the list of files.
        reads: number of items; if there are fewer files, they are used repeatedly.
    """

    def __init__(self, paths: Paths, reads: int) -> None:
        self.paths, self.reads = paths, reads

    def __len__(self) -> int:
        return self.reads

    def __getitem__(self, index: int) -> int:
        return len(os.fspath(self.paths[index % len(self.paths)]))


@dataclass(frozen=True)
class Cost:
    """Cost of one start.

    Args:
        seconds: time until the list is ready.
        index: bytes of the stored index; 0 if there is none.
        private: bytes that a worker does not share with other processes after an epoch (USS).
        proportional: `private` and the worker's part of shared memory (PSS).
    """

    seconds: float
    index: int
    private: float
    proportional: float


def make_files(root: Path, count: int) -> None:
    """Make empty files, 1000 in each folder, with names like those of ImageNet."""
    console = Console(stderr=True)
    for first in track(range(0, count, PER_FOLDER), f"making {count} files", console=console, transient=True):
        name = f"n{first:08}"
        (root / name).mkdir(parents=True)
        for index in range(first, min(first + PER_FOLDER, count)):
            (root / name / f"{name}_{index}.JPEG").touch()


def measure(packed: bool, start: str, root: Path, cache: Path, reads: int, workers: int) -> Cost:
    """Measure one start.

    Args:
        packed: whether to list the files as a FileList, otherwise as one Path per file.
        start: multiprocessing's method to start the workers.
        root: folder of the files.
        cache: folder of the index.
        reads: number of paths that the workers build.
        workers: number of workers.
    """
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
    """The files as one Path per file."""
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)


def worker_memory(rollup: str) -> tuple[int, int]:
    """Private and proportional bytes from the text of /proc/PID/smaps_rollup."""
    sizes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in rollup.splitlines()[1:])}
    return 1024 * (sizes["Private_Clean"] + sizes["Private_Dirty"]), 1024 * sizes["Pss"]


def measurements(files: int, folder: Path, workers: int) -> Iterator[tuple[int, list[Cost]]]:
    """The cost of each of `RUNS` for 1 file, a tenth of the files and all files."""
    for count in sorted({1, max(1, files // 10), files}):
        root, cache = folder / f"files{count}", folder / f"cache{count}"
        make_files(root, count)
        time.sleep(RACY_NS / 1e9)  # an index of folders that are newer is not used
        costs = []
        for name, start in RUNS:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
                packed = name.startswith("FileList")
                costs.append(fresh.submit(measure, packed, start, root, cache, files, workers).result())
        yield count, costs


def table(measured: Sequence[tuple[int, Sequence[Cost]]]) -> str:
    """A Markdown table, one row for each run. The first entry of `measured` gives the memory of a worker itself."""
    lines = [f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
    for count, costs in measured:
        for (name, start), cost, least in zip(RUNS, costs, measured[0][1], strict=True):
            sizes = [cost.private, cost.private - least.private, cost.proportional]
            cells = [f"{count:,}", name, start, f"{cost.seconds:.2f}", f"{cost.index / MB:.1f}" if cost.index else "-"]
            lines.append(f"| {' | '.join([*cells, *(f'{size / MB:.1f}' for size in sizes)])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000, help="number of files; a tenth of it is measured too")
    parser.add_argument(
        "--folder", type=Path, help="folder on the disk to measure; files are made in a new folder in it"
    )
    parser.add_argument("--workers", type=int, default=2, help="number of workers of the DataLoader")
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
