"""Training: what the network costs, how it starts, how it ends, and the references beside it."""

import math
import os
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import lightning
import torch
import wandb
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from src.checkpoints.loading import check_fits
from src.checkpoints.pretrained import start_from
from src.checkpoints.provenance import origin
from src.checks import check_filled, check_flag, check_int, check_seed, check_text
from src.errors import DenseSiamError
from src.evaluation.protocol import Protocol
from src.evaluation.scoring import Scored
from src.monitoring.label_free_monitor import LabelFreeCriteria
from src.monitoring.throughput import Throughput
from src.results.scores import print_scores, write_scores
from src.tasks.base import is_scored, score
from src.training.config_in_checkpoint import ConfigInCheckpoint
from src.training.continuation import go_on, start_at
from src.training.cost_estimate import plan_of, print_preview
from src.training.loggers import Csv
from src.training.memory import forget_peak, peak_memory
from src.training.profiling import measure
from src.training.run_folder import in_own_folder
from src.training.trainer import check_loggers, check_trainer, make_trainer

GROUPS = ("data", "probe", "model", "task", "protocol", "trainer", "callbacks", "logger", "floors", "paths")
VALUES = ("seed", "ckpt_path", "weights", "score_before", "floor_images", "preview_steps")


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
    check_values(config)
    start = None if config.ckpt_path is None else start_at(str(config.ckpt_path))
    started = time.perf_counter()
    plain = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    check_filled({"paths": plain["paths"], **plain})  # first what the others refer to
    check_trainer(plain["trainer"])
    check_loggers(plain["logger"])
    if start is not None:
        plain["ckpt_path"] = str(start.path)
    resumed = {} if start is None else go_on(start, plain)
    lightning.seed_everything(config.seed, workers=True, verbose=False)

    protocol: Protocol = instantiate(config.protocol)
    data = instantiate(config.data, protocol=protocol, _convert_="all")
    if "_target_" in config.probe:
        data = instantiate(config.probe, data=data, _convert_="all")
    data.setup("fit")  # missing or too few images should not show only after the floors
    task = instantiate(config.task, classes=data.classes, protocol=protocol, _convert_="all")
    if start is not None:
        check_fits(start.shapes, task, start.path)
    floors = floors_of(config, task, data)
    if config.ckpt_path is None:
        task.network.fit_neck(some_training_images(config, data))
    taken_over = start_from(task.network, config.weights) if config.weights is not None else None
    throughput, made_from = Throughput(), origin(plain) | resumed
    callbacks = [throughput, ConfigInCheckpoint(plain, made_from), *chosen(config.callbacks)]
    wandb.finish()  # an earlier job of the same sweep, even a failed one, must not be gone on with
    logger = chosen(config.logger)
    trainer = make_trainer(config.trainer, callbacks=callbacks, logger=logger)
    output = Path(config.paths.output)

    for each in trainer.loggers:
        if start and isinstance(each, Csv):
            each.go_on_from(start.step)
        each.log_hyperparams(plain)
    if trainer.is_global_zero:
        for said in filter(None, (taken_over, task.scoring.surplus())):
            print(said)
    if config.preview_steps and not config.trainer.fast_dev_run:
        measured = measure(partial(make_trainer, config.trainer), task.rehearsal(), data, config.preview_steps)
        if trainer.is_global_zero:
            print_preview(measured, plan_of(trainer), output)

    rows = before_training(config, trainer, task, data, floors)
    forget_peak()
    trainer.fit(task, data, ckpt_path=plain["ckpt_path"])
    peak = peak_memory(trainer.strategy.root_device)
    if is_scored(trainer, data):
        rows |= score(trainer, task, data, "after training")

    if trainer.is_global_zero:
        described = (
            {**data.describe(), **task.scoring.matrices.counted(), **protocol.describe()}
            if rows
            else {
                "data": f"{'without labels' if data.val is None else 'trainer.limit_val_batches=0'}, nothing is scored"
            }
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
        print(f"{cost['steps']} steps in {cost['train_seconds']:.0f} s; {left_behind(output)}")
    return rows["after training"].scores["mIoU"] if rows else math.nan


def check_values(config: DictConfig) -> None:
    """Refuse values beside the groups that are out of their range, and a run without data.

    Raises:
        DenseSiamError: the first of them.
    """
    strange = [str(key) for key in config if key not in GROUPS + VALUES]
    if strange:
        raise DenseSiamError(f"the config has {', '.join(strange)}: expected only {', '.join(GROUPS + VALUES)}")
    if "_target_" not in config.data:
        raise DenseSiamError(
            "there is nothing to train on: name an experiment, of which experiment=demo needs no data, or a data set, "
            "such as data=labelled_folder data.root=DIR, which is trained on with the paper's values"
        )
    check_seed("seed", config.seed)
    check_flag("score_before", config.score_before)
    check_int("preview_steps", config.preview_steps, high=1000, otherwise="or 0 for no table")
    check_int("floor_images", config.floor_images, low=1)
    for key in ("ckpt_path", "weights"):
        if config[key] is not None:
            check_text(key, config[key], "or null for none")
    if config.ckpt_path is not None and config.weights is not None:
        raise DenseSiamError("ckpt_path and weights are both given: a resumed run has its own weights; set one of them")


def floors_of(config: DictConfig, task: Any, data: Any) -> dict[str, Any]:
    """The floors by their labels, not fitted yet; none where there are no labels to score them on."""
    if data.val is None:
        return {}
    return {
        str(label): instantiate(floor, classes=data.classes, protocol=task.protocol, _convert_="all")
        for label, floor in config.floors.items()
        if floor is not None
    }


def before_training(
    config: DictConfig, trainer: lightning.Trainer, task: Any, data: Any, floors: Mapping[str, Any]
) -> dict[str, Scored]:
    """Score the network as it starts, and the floors; nothing where there are no labels."""
    rows: dict[str, Scored] = {}
    if not is_scored(trainer, data):
        return rows
    if config.score_before:
        rows |= score(trainer, task, data, "before training")
    for label, floor in floors.items():
        floor.fit(some_training_images(config, data))
        rows |= score(trainer, floor, data, label)
    return rows


def some_training_images(config: DictConfig, data: Any) -> Iterable[Tensor]:
    """Batches of as many training images as floors and necks are fitted on, read when they are asked for."""
    yield from data.whole_train_dataloader(config.floor_images, torch.Generator().manual_seed(config.seed))


def left_behind(output: Path) -> str:
    """What lies in the folder of a run: it may have no checkpoint, as with `trainer.fast_dev_run`."""
    names = ("scores.json", "pictures", last := "checkpoints/last.ckpt")
    there = [name for name in names if (output / name).exists()]
    return f"{', '.join(there)} in {output}{'' if last in there else '; no checkpoint was written'}"


def chosen(group: DictConfig) -> list[Any]:
    """The objects of a config group, without the entries that are switched off by null."""
    return [instantiate(entry) for entry in group.values() if entry is not None]
