"""How the cost grows with each of the sizes of a run: a table with fitted exponents, and a plot.

    OMP_NUM_THREADS=1 python -m benchmarks.growth
    OMP_NUM_THREADS=1 python -m benchmarks.growth --plot docs/pictures/growth.svg
The exponent is that of the power of the size that fits the times best (least squares of the logarithms): 1 is linear.
Fixed costs lower it, so larger sizes than usual are measured as well, and the verdict is on the largest two sizes if
their exponent is larger than that of all.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from benchmarks.growing import between_processes, list_folder, pretraining, read_names, sampler, segmentation
from benchmarks.measuring import Times, in_turn, machine, markdown, verdict
from src.console import hush_libraries

TOLERANCE = 0.15  # by which a measured exponent may be above that of the arithmetic
MOST_SHARED = 0.3
FILES = (1_000, 10_000, 100_000, 1_000_000)


class Line(NamedTuple):
    """One size that grows.

    Attributes:
        name: what grows.
        sizes: its values.
        runs: what is measured for each of them.
        most: the exponent of the arithmetic: 1 is linear.
    """

    name: str
    sizes: tuple[int, ...]
    runs: tuple[Callable[[], object], ...]
    most: float


def lines(folder: Path) -> list[Line]:
    """Everything that is measured; the files are made below `folder`."""

    def line(name: str, make: Callable[[int], Callable[[], object]], sizes: tuple[int, ...], most: float = 1) -> Line:
        return Line(name, sizes, tuple(map(make, sizes)), most)

    return [
        line("points, K x K", lambda size: pretraining(grid_size=round(size**0.5)), (64, 256, 1024, 4096)),
        line("pseudo-categories, N", lambda size: segmentation(num_categories=size), (54, 108, 216, 432)),
        line("auxiliary categories", lambda size: segmentation(num_aux_categories=size), (128, 256, 512, 1024)),
        line("side of the image", lambda size: segmentation(side=size), (64, 128, 192, 256), most=2),
        line("images of a batch", lambda size: segmentation(images=size), (2, 4, 8, 16)),
        line("files: the sampler", sampler, FILES),
        line("files: reading their names", read_names, FILES),
        line("files: listing their folder", partial(list_folder, folder), FILES[:-1]),
    ]


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """The power of the size that fits best, by least squares of the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def measure(line: Line, rounds: int) -> list[Times]:
    """The times of each size, in turn."""
    found = in_turn({str(size): run for size, run in zip(line.sizes, line.runs, strict=True)}, rounds)
    return list(found.values())


def row(line: Line, seconds: Sequence[float]) -> list[str]:
    """Name, processor time of each size, exponent and verdict."""
    cells = [f"{size:,}: {1e3 * each:,.1f}" for size, each in zip(line.sizes, seconds, strict=True)]
    found, last = exponent(line.sizes, seconds), exponent(line.sizes[-2:], seconds[-2:])
    return [
        line.name,
        ", ".join(cells),
        f"{found:.2f}",
        f"{last:.2f}",
        verdict(max(found, last), line.most + TOLERANCE),
    ]


def draw(found: Mapping[str, tuple[Line, list[float]]], path: Path) -> None:
    """A panel for each size, with logarithmic axes and a dotted line of the exponent of the arithmetic."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "growth", "svg.fonttype": "none"}  # the same file from the same numbers
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, -(-len(found) // 2), figsize=(14, 6), layout="constrained")
    used, spare = panels.flat[: len(found)], panels.flat[len(found) :]
    for panel, (name, (line, seconds)) in zip(used, found.items(), strict=True):
        sizes = np.array(line.sizes, float)
        panel.loglog(sizes, [1e3 * each for each in seconds], "o-")
        panel.loglog(sizes, 1e3 * seconds[-1] * (sizes / sizes[-1]) ** line.most, ":", color="grey")
        panel.set_title(f"{name} (exponent {exponent(line.sizes, seconds):.2f})", fontsize=9)
        panel.set_xticks(line.sizes, [f"{size:,}" for size in line.sizes])
        panel.minorticks_off()
        panel.set_ylabel("processor ms", fontsize=8)
    for panel in spare:
        panel.set_axis_off()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plot", type=Path, default=None, help="write the plot to this SVG file")
    asked = parser.parse_args(words)
    hush_libraries()
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for line in lines(Path(folder)):
            found[line.name] = (line, [median(each.processor) for each in measure(line, asked.rounds)])
    rows = [row(line, seconds) for line, seconds in found.values()]
    processes = {count: between_processes(count, asked.rounds) for count in (1, 2)}
    shown = ", ".join(f"{count}: {1e3 * each:,.1f}" for count, each in processes.items())
    power = exponent(list(processes), list(processes.values()))
    rows.append(["processes: each one's step", shown, f"{power:.2f}", f"{power:.2f}", verdict(power, MOST_SHARED)])
    print(markdown(["what grows", "processor ms", "exponent", "of the largest two", "goal"], rows))
    print(
        f"\nEach goal is the exponent of the arithmetic and {TOLERANCE:g} for the measurement, and {MOST_SHARED:g} for "
        f"processes, of which the second brings the exchange of gradients; {machine()}"
    )
    if asked.plot:
        draw(found, asked.plot)


if __name__ == "__main__":
    main()
