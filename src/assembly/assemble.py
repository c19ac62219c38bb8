"""Builds data, task and trainer of a run from its config, in the same way for every command."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import lightning
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback

from src.tasks.base import Task
from src.training.trainer import make_trainer

Make = Callable[..., Any]  # builds the object of a config with `_target_`: Hydra's `instantiate`, or `rebuild`


class Run(NamedTuple):
    """The objects that a config describes.

    Attributes:
        data: a LightningDataModule that satisfies `src.tasks.base.Data`.
        task: the task, with the classes and the protocol of the data.
        trainer: the trainer, with the callbacks and the loggers of the config.
    """

    data: Any
    task: Task
    trainer: lightning.Trainer


def assemble(
    config: Mapping[str, Any], make: Make, stage: Literal["fit", "validate"], callbacks: Iterable[Callback] = ()
) -> Run:
    """Build a run.

    Args:
        config: a config as of `conf/train.yaml`. Hydra always builds its trainer, callbacks and loggers, so they have
            to come from the user's own command, never from a checkpoint.
        make: builds data and task from their parts of the config.
        stage: the stage that the data is set up for, which happens before the task is built, to find errors early.
        callbacks: further callbacks, which run before those of the config.

    Raises:
        DenseSiamError: a value is refused, or data is missing.
    """
    data = make(config["data"], protocol=make(config["protocol"]))
    if "_target_" in config["probe"]:
        data = make(config["probe"], data=data)
    data.setup(stage)
    task = task_for(config["task"], data, make)
    trainer = make_trainer(
        config["trainer"],
        callbacks=[*callbacks, *instantiate_group(config["callbacks"])],
        logger=instantiate_group(config["logger"]),
    )
    task.trainer = trainer
    return Run(data, task, trainer)


def task_for(config: Mapping[str, Any], data: Any, make: Make) -> Task:
    """Build a task or a reference method, with the classes and the protocol of the data."""
    task: Task = make(config, classes=data.classes, protocol=data.protocol)
    return task


def instantiate_group(group: Mapping[str, Any]) -> list[Any]:
    """The objects of a config group, without the entries that are switched off by null."""
    return [instantiate(entry) for entry in group.values() if entry is not None]
