"""What an image costs in an epoch of DenseSiam, PiCIE and IIC: processor time of loading, clustering and step.

Whole epochs of each method in turn, in this process alone, after a round that does not count; needs no data:
    OMP_NUM_THREADS=1 python scripts/benchmark_methods.py
The images are then generated scenes, which cost other time to load than photographs. Two batches of a data set:
    python scripts/benchmark_methods.py experiment=coco_seg data.root=DIR +trainer.limit_train_batches=2
Values of the config stand at the end, as python -m src.train takes them; without an experiment they change the scenes.
"""

import argparse
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import lightning
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import CompactHydraException
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

from src.baselines.clustered import ClusteredTask
from src.console import hush_libraries
from src.errors import DenseSiamError, plain_errors
from src.monitoring.throughput import Throughput

CONF = Path(__file__).resolve().parent.parent / "conf"
SCENES = (
    "experiment=coco_seg",
    "data=scenes",
    "model/encoder=resnet18",
    "data.train_scenes=64",
    "data.scene_size=192",
    "data.views.size=128",
    "data.batch_size=16",
)
REFERENCE, OURS, INACTIVE, ACTIVE = (
    "PiCIE + aux.",
    "DenseSiam + aux.",
    "DenseSiam + aux., RegionSim inactive",
    "DenseSiam + aux., RegionSim active",
)
METHODS: Mapping[str, Sequence[str]] = {
    REFERENCE: ["+row=picie_aux"],
    "IIC": ["+row=iic"],
    INACTIVE: ["task.region_start=null"],
    ACTIVE: ["task.region_start=0"],
}
SEGMENT = "src.tasks.segment.Segment"
PARTS = ("loading", "clustering", "step")
LEGEND = (
    "Milliseconds of processor time per image and epoch, all threads of the process: median over rounds; in brackets "
    "the least and the most. x: ratio within a round. Loading: of the batches that are trained on. Clustering: all "
    "that it takes, its two passes over the pairs, with their own loading, and k-means. Validation is left out."
)


class Spent(NamedTuple):
    """Milliseconds per image of one epoch."""

    loading: float
    clustering: float
    step: float

    @property
    def total(self) -> float:
        return sum(self)


def composed(values: Sequence[str]) -> DictConfig:
    """The config of a method: everything in this process, nothing scored or shown."""
    fixed = ["data.num_workers=0", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.max_epochs=1"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", [*values, *fixed, "paths.output=benchmark"])


def make_epoch(values: Sequence[str]) -> Callable[[], Spent]:
    """A function that trains for one more epoch and says what it took.

    Raises:
        DenseSiamError: a mistake in the values or the data; no whole batch.
    """
    with plain_errors():
        config = composed(values)
        lightning.seed_everything(config.seed, verbose=False)
        protocol = instantiate(config.protocol)
        data = instantiate(config.data, protocol=protocol, _convert_="all")
        data.setup("fit")
        task = instantiate(config.task, classes=data.classes, protocol=protocol, _convert_="all")
        task.network.fit_neck(
            data.whole_train_dataloader(config.floor_images, torch.Generator().manual_seed(config.seed))
        )
    if isinstance(task, ClusteredTask):
        task.clock = time.process_time

    def epoch() -> Spent:
        throughput = Throughput(time.process_time)
        trainer: lightning.Trainer = instantiate(
            config.trainer,
            callbacks=[throughput],
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            _convert_="all",
        )
        trainer.fit(task, data)
        if not throughput.images:
            raise DenseSiamError(
                "no image was trained on: expected a batch at least, give more images or a smaller batch"
            )
        return Spent(*(1000 * throughput.seconds[part] / throughput.images for part in PARTS))

    return epoch


def measure(epochs: Mapping[str, Callable[[], Spent]], rounds: int) -> dict[str, list[Spent]]:
    """Run an epoch of each in turn, `rounds` times after one that does not count."""
    found: dict[str, list[Spent]] = {name: [] for name in epochs}
    for number in track(range(rounds + 1), "measuring", console=Console(stderr=True), transient=True):
        for name, epoch in epochs.items():
            spent = epoch()
            if number:
                found[name].append(spent)
    return found


def mixed(inactive: Iterable[Spent], active: Iterable[Spent], share: float) -> list[Spent]:
    """A whole training, round by round: `share` of its epochs are inactive."""
    return [
        Spent(*(share * one + (1 - share) * other for one, other in zip(early, late, strict=True)))
        for early, late in zip(inactive, active, strict=True)
    ]


def shown(values: Sequence[float], digits: int) -> str:
    """Median and range."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def table(found: Mapping[str, Sequence[Spent]]) -> str:
    """In Markdown, beside the row REFERENCE."""
    lines = [f"| method | {' | '.join(PARTS)} | total | x {REFERENCE} |", "|---|---|---|---|---|---|"]
    for name, rounds in found.items():
        ratios = [mine.total / theirs.total for mine, theirs in zip(rounds, found[REFERENCE], strict=True)]
        parts = [shown([spent[place] for spent in rounds], 1) for place in range(len(PARTS))]
        total = shown([spent.total for spent in rounds], 1)
        lines.append(f"| {name} | {' | '.join([*parts, total, shown(ratios, 2)])} |")
    return "\n".join(lines)


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="each takes an epoch of every method")
    parser.add_argument("values", nargs="*", help="of the config, as python -m src.train takes them")
    arguments = parser.parse_args(words)
    if arguments.rounds < 1:
        parser.error("expected --rounds from 1")
    return arguments


def run(values: Sequence[str], rounds: int) -> str:
    """The table of all methods with these values of the config."""
    with plain_errors():
        task: Any = composed(values).task
    if task["_target_"] != SEGMENT:
        raise DenseSiamError(
            f"expected the task {SEGMENT}, found {task['_target_']}: choose experiment=coco_seg or alike"
        )
    found = measure({name: make_epoch([*values, *own]) for name, own in METHODS.items()}, rounds)
    share = 1.0 if task.region_start is None else min(1.0, float(task.region_start))
    return table({**found, f"{OURS} ({share:.0%} inactive)": mixed(found[INACTIVE], found[ACTIVE], share)})


def main(words: Sequence[str] | None = None) -> None:
    hush_libraries()
    arguments = parse(words)
    chosen = any(value.startswith("experiment=") for value in arguments.values)
    values = arguments.values if chosen else [*SCENES, *arguments.values]
    try:
        print(run(values, arguments.rounds))
    except CompactHydraException as error:
        raise SystemExit(f"benchmark_methods.py: {error}") from None
    print(
        f"\n{LEGEND}\n{', '.join(values)}; {arguments.rounds} rounds; {torch.get_num_threads()} threads, "
        f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}"
    )


if __name__ == "__main__":
    main()
