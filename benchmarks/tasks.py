"""Tasks of experiments, ready for single steps outside of Lightning's loop, and batches of noise for them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import lightning
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from lightning.fabric.utilities import move_data_to_device
from omegaconf import DictConfig
from torch import Tensor

from src.errors import plain_errors
from src.tasks.base import Task

CONF = Path(__file__).resolve().parent.parent / "conf"
WHOLE = (0.0, 0.0, 1.0, 1.0)  # the box of a whole view
Batch = dict[str, Any]
Some = TypeVar("Some", bound=lightning.LightningModule)


def composed(values: Sequence[str]) -> DictConfig:
    """The config of `python -m src.train VALUES`; nothing is written.

    Raises:
        DenseSiamError: a value is refused.
    """
    with initialize_config_dir(str(CONF), version_base="1.3"), plain_errors():
        return compose("train", [*values, "paths.output=benchmark"])


def make_task(values: Sequence[str]) -> Any:
    """The task of `conf/train.yaml` with these values, such as `experiment=coco_seg`, see `ready`; without classes."""
    lightning.seed_everything(0, verbose=False)
    config = composed(values)
    with plain_errors():
        task: Task = instantiate(config.task, classes=(), protocol=instantiate(config.protocol), _convert_="all")
    return ready(task)


def ready(task: Some, deterministic: Any = None) -> Some:
    """The task in training mode, ready for single steps without Lightning's loop.

    Args:
        task: the task.
        deterministic: as `trainer.deterministic`; it holds for this process, and makes some operations on a GPU slower.
    """
    task.trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        deterministic=deterministic,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    for name in ("log", "log_dict"):  # they work only inside Lightning's loop
        setattr(task, name, lambda *_, **__: None)
    return task.train()


def noise(images: int, side: int, boxes: Sequence[Sequence[float]] = (WHOLE, WHOLE)) -> Batch:
    """A batch of noise: two views of each image, and where the overlap lies in each of them."""
    generator = torch.Generator().manual_seed(0)
    return {
        "views": [torch.randint(0, 256, (images, 3, side, side), dtype=torch.uint8, generator=generator) for _ in "ab"],
        "boxes": torch.tensor([[tuple(box) for box in boxes]]).repeat(images, 1, 1),
        "valid": torch.ones(images, dtype=torch.bool),
        "redrawn": torch.zeros(images),
        "index": torch.arange(images),
    }


def make_step(task: lightning.LightningModule, device: torch.device, bf16: bool = False) -> Callable[[Batch], None]:
    """A function that does one whole training step on a batch: losses, backward pass, optimiser.

    Args:
        task: the task; it is moved to the device, as each batch is.
        device: where to compute.
        bf16: whether to compute as `trainer.precision=bf16-mixed` does.
    """
    task.to(device)
    configured = cast(Any, task.configure_optimizers())
    optimizer: torch.optim.Optimizer = configured["optimizer"] if isinstance(configured, dict) else configured

    def step(batch: Batch) -> None:
        batch = move_data_to_device(batch, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            result: Any = task.training_step(batch, 0)
        loss: Tensor = result["loss"] if isinstance(result, dict) else result
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        optimizer.step()

    return step


def finish(device: torch.device) -> None:
    """Wait until the device has computed everything."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
