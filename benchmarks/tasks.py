"""Tasks of experiments, ready for single steps without Lightning's loop, and batches of noise for them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from src.errors import plain_errors
from src.tasks.base import Task

CONF = Path(__file__).resolve().parent.parent / "conf"
WHOLE = (0.0, 0.0, 1.0, 1.0)  # the box of a whole view


def make_task(overrides: Sequence[str]) -> Any:
    """The task of `conf/train.yaml` with these values, such as `experiment=coco_seg`, in training mode on a CPU."""
    lightning.seed_everything(0, verbose=False)
    with initialize_config_dir(str(CONF), version_base="1.3"), plain_errors():
        config = compose("train", list(overrides))
        task: Task = instantiate(config.task, classes=(), protocol=instantiate(config.protocol), _convert_="all")
    task.trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    for name in ("log", "log_dict"):  # they work only inside Lightning's loop
        setattr(task, name, lambda *_, **__: None)
    return task.train()


def make_batch(images: int, side: int, second_box: Sequence[float] = WHOLE) -> dict[str, Any]:
    """A batch of noise: two views of each image; the first view is the whole overlap, the second has it in a box."""
    generator = torch.Generator().manual_seed(0)
    return {
        "views": [torch.randint(0, 256, (images, 3, side, side), dtype=torch.uint8, generator=generator) for _ in "ab"],
        "boxes": torch.tensor([[WHOLE, tuple(second_box)]]).repeat(images, 1, 1),
        "valid": torch.ones(images, dtype=torch.bool),
        "redrawn": torch.zeros(images),
        "index": torch.arange(images),
    }


def step_of(task: Any, batch: dict[str, Any], dtype: torch.dtype | None = None) -> Callable[[], None]:
    """A function that does a whole training step: losses, backward pass, optimiser; with dtype, under autocast."""
    optimizer = cast(torch.optim.Optimizer, task.configure_optimizers())

    def step() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            loss = task.training_step(batch, 0)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
