"""Single steps of pre-training outside of Lightning's loop, on noise: what the benchmarks of pre-training measure."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import lightning
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from lightning import LightningModule

from src.errors import plain_errors
from src.models.heads import projected
from src.tasks.pretrain import Pretrain

CONF = Path(__file__).resolve().parent.parent / "conf"
Task = TypeVar("Task", bound=LightningModule)
PRECISIONS = {"32": None, "bf16": torch.bfloat16}


class Variant(NamedTuple):
    """A kind of step: values of the config, and whether RegionSim sums over the masks before g' (the slower order)."""

    name: str
    overrides: tuple[str, ...]
    sums_first: bool = False

    def task(self, values: Sequence[str]) -> Pretrain:
        """The task of this step, with further values of the config."""
        task = make_task([*values, *self.overrides])
        if self.sums_first and task.network.region_head is not None:
            task.network.region_head.project = projected
        return task


def grid(size: int) -> Variant:
    """PixSim without RegionSim, with K x K points; SimSiam for 0."""
    return Variant(f"K = {size}", (f"model.grid_size={size}", "task.loss_weights.region=0"))


ACTIVE = ("model.grid_size=7", "task.region_start=0")
REGIONS = (Variant("RegionSim, layer first", ACTIVE), Variant("RegionSim, sums first", ACTIVE, sums_first=True))
TIMED = (grid(0)._replace(name="SimSiam"), grid(7)._replace(name="PixSim, K = 7"), *REGIONS)


def make_task(overrides: Sequence[str]) -> Pretrain:
    """The task of `experiment=coco_pretrain` with these values, see `ready`."""
    lightning.seed_everything(0, verbose=False)
    with initialize_config_dir(str(CONF), version_base="1.3"), plain_errors():
        config = compose("train", ["experiment=coco_pretrain", "task.schedule=constant", *overrides])
        task: Pretrain = instantiate(config.task, classes=(), protocol=instantiate(config.protocol), _convert_="all")
    return ready(task)


def ready(task: Task) -> Task:
    """The task in training mode, ready for single steps without Lightning's loop."""
    task.trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False)
    for name in ("log", "log_dict"):  # they work only inside Lightning's loop
        setattr(task, name, lambda *_, **__: None)
    return task.train()


def make_batch(images: int, side: int, device: torch.device) -> dict[str, Any]:
    """A batch of noise: two views of each image that partly overlap; the second view is flipped."""
    generator = torch.Generator().manual_seed(0)
    views = [torch.randint(0, 256, (images, 3, side, side), dtype=torch.uint8, generator=generator) for _ in "ab"]
    boxes = torch.tensor([[[0.3, 0.0, 1.0, 0.8], [0.7, 0.2, 0.1, 0.9]]]).repeat(images, 1, 1)
    return {
        "views": [view.to(device) for view in views],
        "boxes": boxes.to(device),
        "valid": torch.ones(images, dtype=torch.bool, device=device),
        "redrawn": torch.zeros(images, device=device),
        "index": torch.arange(images, device=device),
    }


def make_step(
    variant: Variant, batch: dict[str, Any], dtype: torch.dtype | None, values: Sequence[str]
) -> Callable[[], None]:
    """A function that does one whole training step: both views, losses, backward pass, SGD."""
    return whole_step(variant.task(values).to(batch["valid"].device), batch, dtype)


def whole_step(task: LightningModule, batch: dict[str, Any], dtype: torch.dtype | None) -> Callable[[], None]:
    """A function that does one whole training step of a task that is `ready`."""
    device = batch["valid"].device
    optimizer = cast(torch.optim.Optimizer, task.configure_optimizers())

    def step() -> None:
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            loss = cast(dict[str, Any], task.training_step(batch, 0))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return step


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
