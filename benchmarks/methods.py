"""Processor time per image of an epoch of DenseSiam, PiCIE and IIC, divided into loading, clustering and step.

It trains whole epochs of each method in turn, in this process only, after a warm-up round. It needs no data:
    OMP_NUM_THREADS=1 python -m benchmarks.methods
The images are then generated scenes, which take another time to load than photographs. Two batches of a data set:
    python -m benchmarks.methods experiment=coco_seg data.root=DIR +trainer.limit_train_batches=2
Values of the config can be added at the end, as for python -m src.train; without an experiment, scenes are used.
"""

import argparse
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import lightning
import torch
from hydra.errors import CompactHydraException
from hydra.utils import instantiate

from benchmarks.measuring import in_turn, machine, markdown, ratios, spread
from benchmarks.tasks import composed
from src.baselines.clustered import ClusteredTask
from src.console import hush_libraries
from src.errors import DenseSiamError, plain_errors
from src.monitoring.throughput import Throughput

ALONE = ("data.num_workers=0", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.max_epochs=1")  # one process
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
    REFERENCE: ["+ablation=picie_aux"],
    "IIC": ["+ablation=iic"],
    INACTIVE: ["task.region_start=null"],
    ACTIVE: ["task.region_start=0"],
}
SEGMENT = "src.tasks.segment.Segment"
PARTS = ("loading", "clustering", "step")
LEGEND = (
    "Milliseconds of processor time (all threads) per image and epoch: median over rounds, in brackets minimum and "
    "maximum. x: ratio within a round. Loading: loading of the batches to train on. Clustering: two passes over the "
    "pairs, including their loading, and k-means. Validation is not included."
)


class Spent(NamedTuple):
    """Milliseconds per image of one epoch."""

    loading: float
    clustering: float
    step: float

    @property
    def total(self) -> float:
        return sum(self)


def make_epoch(values: Sequence[str]) -> Callable[[], Spent]:
    """A function that trains for one more epoch and returns the time that it took.

    Raises:
        DenseSiamError: the values or the data are wrong, or there are fewer images than a batch.
    """
    config = composed([*values, *ALONE])
    with plain_errors():
        lightning.seed_everything(config.seed, verbose=False)
        protocol = instantiate(config.protocol)
        data = instantiate(config.data, protocol=protocol, _convert_="all")
        data.setup("fit")
        task = instantiate(config.task, classes=data.classes, protocol=protocol, _convert_="all")
        generator = torch.Generator().manual_seed(config.seed)
        task.prepare(data, data.whole_train_dataloader(config.fit_images, generator))
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
    """Run an epoch of each method in turn, `rounds` times after a warm-up round."""
    found: dict[str, list[Spent]] = {name: [] for name in epochs}

    def once(name: str) -> None:
        found[name].append(epochs[name]())

    in_turn({name: partial(once, name) for name in epochs}, rounds)
    return {name: spent[1:] for name, spent in found.items()}  # the first is the warm-up


def mixed(inactive: Iterable[Spent], active: Iterable[Spent], share: float) -> list[Spent]:
    """Time of a whole training, round by round, if RegionSim is inactive in the fraction `share` of its epochs."""
    return [
        Spent(*(share * one + (1 - share) * other for one, other in zip(early, late, strict=True)))
        for early, late in zip(inactive, active, strict=True)
    ]


def table(found: Mapping[str, Sequence[Spent]]) -> str:
    """The times as a Markdown table, compared with the row REFERENCE."""
    beside, rows = [spent.total for spent in found[REFERENCE]], []
    for name, rounds in found.items():
        total = [spent.total for spent in rounds]
        parts = [spread([spent[place] for spent in rounds], 1) for place in range(len(PARTS))]
        rows.append([name, *parts, spread(total, 1), spread(ratios(total, beside), 2)])
    return markdown(["method", *PARTS, "total", f"x {REFERENCE}"], rows)


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="number of rounds, each with an epoch of every method")
    parser.add_argument("values", nargs="*", help="values of the config, as for python -m src.train")
    arguments = parser.parse_args(words)
    if arguments.rounds < 1:
        parser.error("expected --rounds from 1")
    return arguments


def run(values: Sequence[str], rounds: int) -> str:
    """The table of all methods with these values of the config."""
    task: Any = composed([*values, *ALONE]).task
    if task["_target_"] != SEGMENT:
        raise DenseSiamError(
            f"expected the task {SEGMENT}, found {task['_target_']}: choose an experiment such as coco_seg"
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
        raise SystemExit(f"benchmarks.methods: {error}") from None
    print(f"\n{LEGEND}\n{', '.join(values)}; {arguments.rounds} rounds; {machine()}")


if __name__ == "__main__":
    main()
