"""Measures the time and memory of a few real steps before a run; these steps do not change the run."""

import gc
import os
import time
from collections.abc import Callable, Sequence
from itertools import islice, pairwise
from statistics import median
from typing import Any, NamedTuple

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import DataLoader

from src.errors import DenseSiamError
from src.training.memory import forget_peak, peak_memory

SAMPLES = 8  # images that are loaded to measure the loading time


class Measured(NamedTuple):
    """Time, memory and sizes of a run; a value is None if it can't be measured here.

    Attributes:
        images: number of training images.
        batch: global batch size, over all processes.
        train_batches, val_batches: batches of a whole epoch and of a whole validation, in one process.
        train_seconds, val_seconds: seconds that one such batch takes.
        load_seconds: seconds that all loader processes of one process take to load a training batch while nothing else
            runs; None if the main process loads, because `train_seconds` then includes the loading.
        memory: peak of the memory in use, in bytes, see `peak_memory`.
        gpu_memory: memory of the GPU in bytes; None without a GPU.
        learned, parameters: numbers of the trained parameters and of all parameters.
        checkpoint: bytes of the weights and the optimiser state.
        val_start_seconds: seconds before the first batch of a validation, such as those in which clusters are fitted.
    """

    images: int
    batch: int
    train_batches: int
    val_batches: int
    train_seconds: float | None
    val_seconds: float | None
    load_seconds: float | None
    memory: int | None
    gpu_memory: int | None
    learned: int
    parameters: int
    checkpoint: int
    val_start_seconds: float = 0.0


class Clock(Callback):
    """Records when a validation begins, when its first batch begins and each ends, and the peak of the used memory."""

    def __init__(self) -> None:
        self.train: list[float] = []
        self.val: list[float] = []
        self.val_began = 0.0
        self.memory: int | None = None
        self.gpu_memory: int | None = None

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.train.append(now(pl_module.device))

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any) -> None:
        self.train.append(now(pl_module.device))

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.val_began = now(pl_module.device)

    def on_validation_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any
    ) -> None:
        if not self.val:
            self.val.append(now(pl_module.device))

    def on_validation_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any
    ) -> None:
        self.val.append(now(pl_module.device))

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.memory = peak_memory(pl_module.device)
        if pl_module.device.type == "cuda":
            self.gpu_memory = torch.cuda.get_device_properties(pl_module.device).total_memory


def measure(
    make_trainer: Callable[..., lightning.Trainer],
    worst_case: lightning.LightningModule,
    data: lightning.LightningDataModule,
    steps: int,
) -> Measured:
    """Train and validate for a few batches; afterwards the global random states and the data are as before.

    Args:
        make_trainer: makes a trainer as that of the run, with the given arguments replaced.
        worst_case: a copy of the task with every loss active; it is trained here, so don't use it afterwards.
        data: the data, set up for training.
        steps: number of measured training steps; one more step before them is a warm-up.

    Raises:
        DenseSiamError: a step does not fit into the GPU's memory.
    """
    clock = Clock()
    forget_peak()
    trainer = make_trainer(
        fast_dev_run=steps + 1,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    before, data.trainer = data.trainer, trainer
    train, val = data.train_dataloader(), data.val_dataloader()
    batch = train.batch_size * trainer.world_size
    with isolate_rng():
        loading = load_seconds(train, (os.cpu_count() or 1) // trainer.num_devices)
        try:
            trainer.fit(worst_case, data)
        except torch.OutOfMemoryError as error:
            raise DenseSiamError(
                f"a step of {batch} images does not fit into the GPU's memory: lower data.batch_size, and the learning "
                "rate follows, or share the batch between more GPUs with trainer=ddp"
            ) from error
    data.trainer = before
    parameters = list(worst_case.parameters())
    measured = Measured(
        images=len(train.dataset),
        batch=batch,
        train_batches=len(train),
        val_batches=len(val),
        train_seconds=seconds_each(clock.train),
        val_seconds=seconds_each(clock.val),
        load_seconds=loading,
        memory=clock.memory,
        gpu_memory=clock.gpu_memory,
        learned=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        parameters=sum(parameter.numel() for parameter in parameters),
        checkpoint=tensor_bytes([worst_case.state_dict(), [each.state_dict() for each in trainer.optimizers]]),
        val_start_seconds=clock.val[0] - clock.val_began if clock.val else 0.0,
    )
    del trainer
    gc.collect()
    torch.cuda.empty_cache()
    return measured


def now(device: torch.device) -> float:
    """The time in seconds, read after the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def seconds_each(times: Sequence[float]) -> float | None:
    """Median time between neighbours; the first pair is a warm-up and only counts if it is the only pair."""
    gaps = [end - start for start, end in pairwise(times)]
    counted = gaps[1:] or gaps
    return median(counted) if counted else None


def load_seconds(loader: DataLoader[Any], cores: int) -> float | None:
    """Seconds that the loader's processes together take for a batch; None if the loader has no processes.

    The time is measured on a few samples in this process. The first steps of a run would not show slow loading,
    because the loader processes have prepared batches for them.

    Args:
        loader: the loader of training batches.
        cores: number of processor cores that its processes share.
    """
    if not loader.num_workers:
        return None
    few = list(islice(iter(loader.sampler), SAMPLES))
    start = time.perf_counter()
    next(iter(DataLoader(loader.dataset, batch_size=len(few), sampler=few, collate_fn=loader.collate_fn)))
    per_image = (time.perf_counter() - start) / len(few)
    return per_image * (loader.batch_size or 1) / max(1, min(loader.num_workers, cores))


def tensor_bytes(state: Any) -> int:
    """Bytes of all tensors in nested containers."""
    if isinstance(state, Tensor):
        return state.nbytes
    children = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return sum(tensor_bytes(child) for child in children)
