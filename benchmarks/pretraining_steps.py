"""Single steps of pre-training outside of Lightning's loop, on noise: what the benchmarks of pre-training measure."""

import argparse
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from lightning.fabric.utilities import move_data_to_device

from benchmarks.tasks import Batch, finish, make_step, make_task, noise
from src.models.heads import projected
from src.tasks.pretrain import Pretrain


class Variant(NamedTuple):
    """A kind of step: values of the config, and whether RegionSim sums over the masks before g' (the slower order)."""

    name: str
    overrides: tuple[str, ...]
    sums_first: bool = False

    def task(self, values: Sequence[str]) -> Pretrain:
        """The task of this step, with further values of the config."""
        task: Pretrain = make_task(["experiment=coco_pretrain", "task.schedule=constant", *values, *self.overrides])
        if self.sums_first and task.network.region_head is not None:
            task.network.region_head.project = projected
        return task


def grid(size: int) -> Variant:
    """PixSim without RegionSim, with K x K points; SimSiam for 0."""
    return Variant(f"K = {size}", (f"model.grid_size={size}", "task.loss_weights.region=0"))


ACTIVE = ("model.grid_size=7", "task.region_start=0")
REGIONS = (Variant("RegionSim, layer first", ACTIVE), Variant("RegionSim, sums first", ACTIVE, sums_first=True))
TIMED = (grid(0)._replace(name="SimSiam"), grid(7)._replace(name="PixSim, K = 7"), *REGIONS)


def make_batch(images: int, side: int) -> Batch:
    """A batch of noise, whose views partly overlap; the second view is mirrored."""
    return noise(images, side, ((0.3, 0.0, 1.0, 0.8), (0.7, 0.2, 0.1, 0.9)))


def variant_step(
    variant: Variant, batch: Batch, device: torch.device, bf16: bool, values: Sequence[str]
) -> Callable[[], None]:
    """A function that does one whole step of a variant on a batch; the device has finished it."""
    step = make_step(variant.task(values), device, bf16)
    placed = move_data_to_device(batch, device)

    def run() -> None:
        step(placed)
        finish(device)

    return run


def parser(about: str | None, images: int) -> argparse.ArgumentParser:
    """The options that both benchmarks have; `images` is the default size of the batch."""
    found = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--batch", type=int, default=images, help="number of images; batch norm needs at least 2")
    found.add_argument("--size", type=int, default=224, help="side of the views in pixels")
    found.add_argument("values", nargs="*", help="values of the config, as for python -m src.train")
    return found


def setting(asked: argparse.Namespace) -> str:
    """The options in words."""
    return ", ".join([f"batch {asked.batch}", f"{asked.size} px", *asked.values])
