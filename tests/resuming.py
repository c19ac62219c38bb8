"""A small training run that can be stopped anywhere, and what it leaves behind."""

import random
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger
from torch import Tensor, nn

from src.data.datamodule import ImageData
from src.data.images import Images
from src.metrics import Category
from src.monitoring.throughput import Throughput
from src.monitoring.unreadable import Unreadable
from src.training.resumption import LastCheckpoint, RandomStates, random_states
from src.training.whole_files import WholeFiles
from tests.data.arrays import Arrays
from tests.factories import VIEWS, paper

BATCH = 4
IMAGES = 6 * BATCH + 2  # 6 batches an epoch

AtStep = Callable[[int], None]


def undisturbed(step: int) -> None:
    pass


def signalled(at: int, *numbers: int) -> AtStep:
    """Send signals in the midst of a step."""

    def at_step(step: int) -> None:
        for number in numbers if step == at else ():
            signal.raise_signal(number)

    return at_step


def failing(at: int, error: BaseException) -> AtStep:
    def at_step(step: int) -> None:
        if step == at:
            raise error

    return at_step


class Small(lightning.LightningModule):
    """Batch norm, dropout, momentum, a schedule by step, and draws from every global generator."""

    def __init__(self, at_step: AtStep) -> None:
        super().__init__()
        self.clustering_seconds = 0.0
        self.net = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(6 * 7 * 7, 4)
        )
        self.at_step = at_step

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        first, second = (self.net(view / 255) for view in batch["views"])
        self.at_step(self.trainer.fit_loop.total_batch_idx + 1)
        loss = (first - second).square().mean() * (1 + random.random() + np.random.rand())  # noqa: NPY002
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.log("drawn", torch.rand(()), batch_size=1)

    def configure_optimizers(self) -> Any:
        _ = self.trainer.estimated_stepping_batches  # has Lightning make the loader before it knows the position
        optimizer = torch.optim.SGD(self.parameters(), 0.05, momentum=0.9)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 40)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Rows(Logger):
    """Keeps what is logged: step, name and value, without times."""

    name = version = "rows"

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, str, float]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows += [(step, name, value) for name, value in metrics.items() if "second" not in name]

    def log_hyperparams(self, *_: Any) -> None:
        pass


class Seen(Callback):
    """Keeps epoch, number, step and images of each batch."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int, int, list[int]]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: dict[str, Any], batch_idx: int) -> None:
        self.batches.append((trainer.current_epoch, batch_idx, trainer.global_step, batch["index"].tolist()))


class Run(NamedTuple):
    """What a run leaves behind; `ended_by` is None if it came to its end."""

    state: dict[str, Any]
    batches: list[tuple[int, int, int, list[int]]]
    rows: list[tuple[int | None, str, float]]
    ended_by: BaseException | None


def run(
    folder: Path,
    at_step: AtStep = undisturbed,
    ckpt_path: Path | None = None,
    every_n_steps: int | None = None,
    num_workers: int = 0,
    batch_size: int = BATCH,
    images: int = IMAGES,
    seed: int = 3,
    broken: Sequence[int] = (),
    on_corrupt: str = "raise",
    callbacks: Sequence[Callback] = (),
    train: Images | None = None,
    **options: Any,
) -> Run:
    """Train for three epochs, or until something ends it.

    Args:
        folder: for `last.ckpt`.
        at_step: called in the midst of each batch's step with its number in the whole run, from 1.
        ckpt_path: to go on from.
        every_n_steps: see `LastCheckpoint`.
        num_workers, batch_size, images, seed, broken, on_corrupt: of the data.
        callbacks: further ones.
        train: the images to train on; None for arrays.
        options: of the trainer, which uses the CPU unless they say otherwise.
    """
    lightning.seed_everything(99 if ckpt_path else 5, verbose=False)  # what a resumed run draws first must not matter
    pixels = np.random.default_rng(0).integers(0, 256, (images, 20, 20, 3), dtype=np.uint8)
    labels = np.zeros((3, 20, 20), np.uint8)
    shown, val = train or Arrays(list(pixels), broken=broken), Arrays(list(pixels[:3]), list(labels))
    classes = [Category("all", "stuff")]
    data = ImageData(lambda: shown, val, classes, VIEWS, paper(side=16), batch_size, num_workers, seed, on_corrupt)
    module, seen, rows, speed = Small(at_step), Seen(), Rows(), Throughput()
    trainer = lightning.Trainer(
        callbacks=[
            *(seen, speed, Unreadable(str(folder / "unreadable.txt")), RandomStates()),
            *(LastCheckpoint(str(folder), every_n_steps), *callbacks),
        ],
        logger=rows,
        plugins=[WholeFiles()],
        log_every_n_steps=2,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": 3, "accelerator": "cpu", **options},
    )
    ended_by = None
    try:
        trainer.fit(module, data, ckpt_path=ckpt_path)
    except BaseException as error:
        ended_by = error
    state = {
        "module": module.state_dict(),
        "optimizer": [each.state_dict() for each in trainer.optimizers],
        "schedule": [each.scheduler.state_dict() for each in trainer.lr_scheduler_configs],
        "random": random_states(torch.device("cpu")),
        "epoch and step": (trainer.current_epoch, trainer.global_step),
        "images of the epoch": speed.epoch_images,
    }
    return Run(state, seen.batches, rows.rows, ended_by)
