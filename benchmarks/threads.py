"""A step, scoring and loading with all cores: alone, and beside a process that keeps one core busy. By wall time.

python -m benchmarks.threads
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the commands do, before torch is imported

import lightning
import torch
from hydra.utils import instantiate
from torch.utils.data import DataLoader

from benchmarks.measuring import Times, in_turn, machine, markdown, ratios, spread, verdict
from benchmarks.pretraining_steps import grid, make_batch, variant_step
from benchmarks.scoring import CLASSES, our_counts
from benchmarks.scoring import make_batch as make_scored
from benchmarks.tasks import composed
from src.console import hush_libraries
from src.threads import usable_cores, waiting

GOAL = 2.0
WORKERS, BATCHES = 2, 8  # loader processes, and the batches that they load in a round
SMALL = ("model/encoder=resnet18", "model.image_channels=512", "model.image_bottleneck=128")


def make_runs(images: int, side: int) -> dict[str, Callable[[], object]]:
    """What is measured: a step, scoring of a batch, loading of a batch in the main process, and of more in others."""
    step = variant_step(grid(0), make_batch(images, side), torch.device("cpu"), False, SMALL)
    logits, label = make_scored(images, CLASSES)
    return {
        "training step": step,
        "scoring": partial(our_counts, logits, label, CLASSES),
        "loading": partial(load, make_loader(images, 0), 1),
        f"loading, {WORKERS} processes": partial(load, make_loader(images, WORKERS), BATCHES),
    }


def make_loader(images: int, workers: int) -> DataLoader[Any]:
    """Batches of the demo's views, loaded by so many processes, which stay between two epochs."""
    values = ["experiment=demo", f"data.train_scenes={BATCHES * images}", f"data.batch_size={images}"]
    config = composed([*values, f"data.num_workers={workers}"])
    lightning.seed_everything(0, verbose=False)
    data = instantiate(config.data, protocol=instantiate(config.protocol), _convert_="all")
    data.setup("fit")
    loader: DataLoader[Any] = data.train_dataloader()
    return loader


def load(loader: Iterable[object], batches: int) -> None:
    """Load the first batches of an epoch."""
    for _ in islice(loader, batches):
        pass


@contextmanager
def busy_process() -> Iterator[Callable[[Callable[[], object]], None]]:
    """A function that runs another one while a process keeps a core busy; the process stops in between."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    process.send_signal(signal.SIGSTOP)

    def beside(run: Callable[[], object]) -> None:
        process.send_signal(signal.SIGCONT)
        try:
            run()
        finally:
            process.send_signal(signal.SIGSTOP)

    try:
        yield beside
    finally:
        process.kill()
        process.wait()


def table(times: Mapping[str, tuple[Times, Times]]) -> str:
    """Milliseconds by the clock, alone and beside the busy process, with their ratio and the verdict on it."""
    rows = []
    for name, (alone, beside) in times.items():
        found = ratios(beside.wall, alone.wall)
        cells = [spread([1e3 * second for second in each.wall], 1) for each in (alone, beside)]
        rows.append([name, *cells, spread(found, 2), verdict(median(found), GOAL)])
    return markdown(["what", "wall ms alone", "wall ms beside a busy core", "ratio", "goal"], rows)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=128, help="side of the views of the step, in pixels")
    asked = parser.parse_args(words)
    hush_libraries()
    before = torch.get_num_threads()
    torch.set_num_threads(usable_cores())
    try:
        runs = make_runs(asked.batch, asked.size)
        with busy_process() as beside:
            both = {("alone", name): run for name, run in runs.items()}
            both |= {("beside", name): partial(beside, run) for name, run in runs.items()}
            found = in_turn({" ".join(key): run for key, run in both.items()}, asked.rounds)
        print(table({name: (found[f"alone {name}"], found[f"beside {name}"]) for name in runs}))
        print(f"\nbatches of {asked.batch}, threads {waiting()}; {machine()}")
    finally:
        torch.set_num_threads(before)


if __name__ == "__main__":
    main()
