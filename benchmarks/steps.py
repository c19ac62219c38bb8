"""Training steps of any experiment with its own data, outside of Lightning's loop: their pace, and what fits."""

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar, cast

import lightning
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch.utils.data import DataLoader

from benchmarks.tasks import Batch, composed, finish, ready
from src.errors import plain_errors
from src.tasks.base import Task

SAMPLES = 8
T = TypeVar("T")


class Prepared(NamedTuple):
    """The config of an experiment, and its data and task."""

    config: DictConfig
    data: Any
    task: Task

    def loader(self) -> DataLoader[Any]:
        """The batches of an epoch."""
        return cast(DataLoader[Any], self.data.train_dataloader())


def prepare(values: Sequence[str]) -> Prepared:
    """Make data and task of `python -m src.train VALUES`, the task with every loss active and a constant rate.

    Args:
        values: values of the config.

    Raises:
        DenseSiamError: a value is refused, or data is missing.
    """
    lightning.seed_everything(0, verbose=False)
    config = composed(values)
    with plain_errors():
        if "schedule" in config.task:
            config.task.schedule = "constant" if isinstance(config.task.schedule, str) else None
        data = instantiate(config.data, protocol=instantiate(config.protocol), _convert_="all")
        task: Task = instantiate(config.task, classes=data.classes, protocol=data.protocol, _convert_="all")
    return Prepared(config, data, ready(task.worst_case(), config.trainer.deterministic))


class Pace(NamedTuple):
    """How fast steps were done.

    Attributes:
        steps: number of steps.
        seconds: time of all of them, with the waiting.
        waited: time during which the next batch was waited for.
    """

    steps: int
    seconds: float
    waited: float

    @property
    def each(self) -> float:
        """Seconds of a step."""
        return self.seconds / self.steps


def pace(
    step: Callable[[Batch], None],
    batches: Iterator[Batch],
    device: torch.device,
    most: int,
    seconds: float,
    warm_up: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> Pace:
    """Do `most` steps, or fewer if `seconds` are over before, but at least one. The device has finished each of them.

    Args:
        step: does a step.
        batches: as many as are asked for.
        device: where the steps are computed.
        most, seconds: the two limits.
        warm_up: number of steps before them that are not counted.
        clock: returns the time in seconds.
    """
    for _ in range(warm_up):
        step(next(batches))
    finish(device)
    waited, steps, start = 0.0, 0, clock()
    while not steps or (steps < most and clock() - start < seconds):
        asked = clock()
        batch = next(batches)
        waited += clock() - asked
        step(batch)
        finish(device)
        steps += 1
    return Pace(steps, clock() - start, waited)


def fixed_batch(prepared: Prepared) -> Batch:
    """A batch of the experiment's size, in which a few loaded samples are repeated; no loader process is started."""
    loader = prepared.loader()
    few = [loader.dataset[key] for key in islice(iter(loader.sampler), SAMPLES)]
    batch: Batch = loader.collate_fn([few[place % len(few)] for place in range(loader.batch_size or 1)])
    return batch


def epochs(loader: DataLoader[Any]) -> Iterator[Batch]:
    """The batches of a loader without end."""
    epoch = 0
    while True:
        sampler: Any = loader.sampler
        sampler.set_epoch(epoch)
        yield from cast(Iterable[Batch], loader)
        epoch += 1


def fitting(run: Callable[[int], T], batch: int) -> tuple[int, T]:
    """Call `run` with a batch size, with half of it when memory runs out, and so on.

    Returns:
        The batch size that fits, and the result.

    Raises:
        torch.OutOfMemoryError: not even two images fit.
    """
    while True:
        try:
            return batch, run(batch)
        except torch.OutOfMemoryError:
            if batch < 4:
                raise
        free_memory()
        batch //= 2


def free_memory() -> None:
    """Give the GPU's memory of what is not in use any more back."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
