"""Train and score: `python -m src.train experiment=NAME`."""

import math
import os
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, cast

import hydra
import lightning
import torch
import wandb
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from src.callbacks import ConfigInCheckpoint, Throughput
from src.console import hush_libraries
from src.continuation import go_on, start_at
from src.criteria_monitor import LabelFreeCriteria
from src.errors import DenseSiamError, plain_errors
from src.foreign import start_from
from src.loggers import Csv
from src.memory import forget_peak, peak_memory
from src.preview import plan_of, print_preview
from src.protocol import Protocol
from src.provenance import origin
from src.rehearsal import measure
from src.run_folder import in_own_folder
from src.scores import Scored, print_scores, write_scores
from src.tasks.scoring import score

GROUPS = ("data", "probe", "model", "task", "protocol", "trainer", "callbacks", "logger", "floors", "paths")
VALUES = ("seed", "ckpt_path", "weights", "score_before", "floor_images", "preview_steps")


@hydra.main(config_path="../conf", config_name="train", version_base="1.3")
def main(config: DictConfig) -> float:
    hush_libraries()
    with plain_errors():
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            check_sweep(config)
        return train(config)


def check_sweep(config: DictConfig) -> None:
    """Refuse a sweep whose jobs would start processes of their own: Lightning starts them with the sweep's own command.

    Raises:
        DenseSiamError: several devices outside torchrun.
    """
    if config.trainer.devices not in (1, "1") and "LOCAL_RANK" not in os.environ:
        raise DenseSiamError(
            "a sweep over several processes needs torchrun, or each process would start the sweep anew: expected "
            "torchrun --standalone --nproc_per_node=N -m src.train -m ... hydra.sweep.dir=DIR, found no LOCAL_RANK"
        )


@in_own_folder(resumes=True)
def train(config: DictConfig) -> float:
    """Print what the run will cost, score the network as it starts and the floors, train, score again, and report.

    Args:
        config: as `conf/train.yaml` composes it.

    Returns:
        Final mIoU in percent, which a sweep can compare; nan where there are no labels.

    Raises:
        DenseSiamError: a mistake in the config or the data.
    """
    strange = [str(key) for key in config if key not in GROUPS + VALUES]
    if strange:
        raise DenseSiamError(f"the config has {', '.join(strange)}: expected only {', '.join(GROUPS + VALUES)}")
    if type(config.preview_steps) is not int or config.preview_steps < 0:
        raise DenseSiamError(
            f"preview_steps is {config.preview_steps!r}: expected a number of steps, or 0 for no table"
        )
    if config.ckpt_path is not None and config.weights is not None:
        raise DenseSiamError("ckpt_path and weights are both given: a resumed run has its own weights; set one of them")
    start = None if config.ckpt_path is None else start_at(str(config.ckpt_path))
    started = time.perf_counter()
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    plain = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    if start is not None:
        plain["ckpt_path"] = str(start.path)
    resumed = {} if start is None else go_on(start, plain)

    protocol: Protocol = instantiate(config.protocol)
    data = instantiate(config.data, protocol=protocol, _convert_="all")
    if "_target_" in config.probe:
        data = instantiate(config.probe, data=data, _convert_="all")
    data.setup("fit")  # missing or too few images should not show only after the floors
    task = instantiate(config.task, classes=data.classes, protocol=protocol, _convert_="all")
    if config.ckpt_path is None:
        task.network.fit_neck(some_training_images(config, data))
    taken_over = start_from(task.network, config.weights) if config.weights is not None else None
    throughput, made_from = Throughput(), origin(plain) | resumed
    callbacks = [throughput, ConfigInCheckpoint(plain, made_from), *chosen(config.callbacks)]
    wandb.finish()  # an earlier job of the same sweep, even a failed one, must not be gone on with
    logger = chosen(config.logger)
    make_trainer = partial(instantiate, config.trainer, _convert_="all")
    trainer: lightning.Trainer = make_trainer(callbacks=callbacks, logger=logger)
    output = Path(config.paths.output)

    for each in trainer.loggers:
        if start and isinstance(each, Csv):
            each.go_on_from(start.step)
        each.log_hyperparams(plain)
    if taken_over and trainer.is_global_zero:
        print(taken_over)
    if config.preview_steps and not config.trainer.fast_dev_run:
        measured = measure(make_trainer, task.rehearsal(), data, config.preview_steps)
        if trainer.is_global_zero:
            print_preview(measured, plan_of(trainer), output)

    rows = before_training(config, trainer, task, data)
    forget_peak()
    trainer.fit(task, data, ckpt_path=plain["ckpt_path"])
    peak = peak_memory(trainer.strategy.root_device)
    if data.val is not None:
        rows |= score(trainer, task, data, "after training")

    if trainer.is_global_zero:
        described = (
            {**data.describe(), "images": task.scoring.matrices.counts.shape[0], **protocol.describe()}
            if rows
            else {"data": "without labels, nothing is scored"}
        )
        cost = {
            "steps": trainer.global_step,
            "epochs": trainer.current_epoch,
            **throughput.cost(),
            "total_seconds": time.perf_counter() - started,
            "peak_memory": peak,
            "parameters": sum(parameter.numel() for parameter in task.parameters()),
        }
        if rows:
            print_scores(rows, described)
        label_free = next((each.last for each in callbacks if isinstance(each, LabelFreeCriteria)), None)
        write_scores(output / "scores.json", rows, described, cost, plain, origin=made_from, label_free=label_free)
        what = "scores, pictures and checkpoint" if rows else "checkpoint"
        print(f"{cost['steps']} steps in {cost['train_seconds']:.0f} s; {what} in {output}")
    return rows["after training"].scores["mIoU"] if rows else math.nan


def before_training(config: DictConfig, trainer: lightning.Trainer, task: Any, data: Any) -> dict[str, Scored]:
    """Score the network as it starts, and the floors; nothing where there are no labels."""
    rows: dict[str, Scored] = {}
    if data.val is None:
        return rows
    if config.score_before:
        rows |= score(trainer, task, data, "before training")
    for label, floor_config in config.floors.items():
        floor = instantiate(floor_config, classes=data.classes, protocol=task.protocol, _convert_="all")
        floor.fit(some_training_images(config, data))
        rows |= score(trainer, floor, data, str(label))
    return rows


def some_training_images(config: DictConfig, data: Any) -> Iterable[Tensor]:
    """Batches of as many training images as floors and necks are fitted on, read when they are asked for."""
    yield from data.whole_train_dataloader(config.floor_images, torch.Generator().manual_seed(config.seed))


def chosen(group: DictConfig) -> list[Any]:
    """The objects of a config group, without the entries that are switched off by null."""
    return [instantiate(entry) for entry in group.values() if entry is not None]


if __name__ == "__main__":
    main()
