"""Trains a network: cost estimate, scores before and after training, and the reference methods."""

import math
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from src.assembly.assemble import Run, assemble, task_for
from src.assembly.sweeps import check_search
from src.checkpoints.loading import check_fits
from src.checkpoints.pretrained import load_pretrained
from src.checkpoints.provenance import origin
from src.checks import check_filled, check_flag, check_int, check_seed, check_text
from src.command_line import CONF
from src.errors import DenseSiamError
from src.evaluation.scoring import Scored
from src.models.encoder import Encoder
from src.monitoring.label_free_monitor import LabelFreeMonitor
from src.monitoring.throughput import Throughput
from src.results.scores import numbers, print_scores, tabulated, write_scores
from src.tasks.base import Task, score
from src.tasks.compiled import compile_parts
from src.training.config_in_checkpoint import ConfigInCheckpoint
from src.training.continuation import Start, go_on, start_at
from src.training.cost_estimate import plan_of, print_cost_estimate
from src.training.log_interval import LogEachEpoch
from src.training.loggers import Csv, Tolerant, Wandb
from src.training.memory import forget_peak, peak_memory
from src.training.precision import with_precision
from src.training.profiling import measure
from src.training.run_folder import in_own_folder
from src.training.trainer import check_loggers, check_trainer, make_trainer
from src.training.wandb_runs import wandb_closed

MAKE = partial(instantiate, _convert_="all")


@in_own_folder(resumes=True)
@wandb_closed()
def train(config: DictConfig) -> float:
    """Print the cost estimate, score the untrained network and the reference methods, train, score again, and report.

    Args:
        config: the composed `conf/train.yaml`.

    Returns:
        the task's primary metric at the end, in percent, by which a sweep can compare runs; nan without labels.

    Raises:
        DenseSiamError: there is an error in the config or the data.
    """
    started = time.perf_counter()
    config = with_precision(config)
    start, plain = checked(config)
    resumed = {} if start is None else go_on(start, plain)
    made_from = origin(plain) | resumed
    lightning.seed_everything(plain["seed"], workers=True, verbose=False)

    throughput = Throughput()
    own = [throughput, ConfigInCheckpoint(plain, made_from), LogEachEpoch()]
    run = assemble(cast(Mapping[str, Any], config), MAKE, "fit", own)
    check_search(run.data.val is not None)
    references = references_of(config, run.data)
    remarks = initialise(run, plain, start)
    if plain["compile"]:
        compile_parts(run.task, run.trainer.strategy.root_device.type == "cuda")
    begin_logs(run, plain, start)
    if run.trainer.is_global_zero:
        print(*remarks, sep="\n", end="\n" if remarks else "")
    if run.task.learns and plain["estimate_steps"] and not plain["trainer"]["fast_dev_run"]:
        estimate_cost(run, config)

    rows = score_before(run, plain, references)
    forget_peak()
    if run.task.learns:
        run.trainer.fit(run.task, run.data, ckpt_path=plain["ckpt_path"])
    cost = {
        "steps": run.trainer.global_step,
        "epochs": run.trainer.current_epoch,
        **throughput.cost(),
        "peak_memory": peak_memory(run.trainer.strategy.root_device),
        "parameters": sum(parameter.numel() for parameter in run.task.parameters()),
    }
    if run.task.is_scored:
        rows |= score(run.trainer, run.task, run.data, "after training")
    if run.trainer.is_global_zero:
        report(run, rows, cost | {"total_seconds": time.perf_counter() - started}, plain, made_from)
    return rows["after training"].scores[run.task.primary_metric] if rows else math.nan


def checked(config: DictConfig) -> tuple[Start | None, dict[str, Any]]:
    """Refuse values that are out of their range before anything is built.

    Returns:
        the checkpoint to resume from, None for a new run; and the config in plain containers, interpolations resolved.

    Raises:
        DenseSiamError: a value is out of its range; the message names the first.
    """
    check_values(config)
    start = None if config.ckpt_path is None else start_at(str(config.ckpt_path))
    plain = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    check_filled({"paths": plain["paths"], **plain})  # `paths` first, because other values refer to them
    check_trainer(plain["trainer"])
    check_loggers(plain["logger"])
    return start, plain if start is None else plain | {"ckpt_path": str(start.path)}


def check_values(config: DictConfig) -> None:
    """Refuse values outside the groups that are out of their range, and a run without data.

    Raises:
        DenseSiamError: a value is out of its range, or there is no data.
    """
    own = cast(DictConfig, OmegaConf.load(CONF / "train.yaml"))
    known = [str(key) for key in own if key != "defaults"]
    known += [key for entry in own.defaults if isinstance(entry, Mapping) for key in map(str, entry) if key in config]
    strange = [str(key) for key in config if key not in known]
    if strange:
        raise DenseSiamError(f"the config has {', '.join(strange)}: expected only {', '.join(known)}")
    if "_target_" not in config.data:
        raise DenseSiamError(
            "there is nothing to train on: name an experiment, of which experiment=demo needs no data, or a data set, "
            "such as data=labelled_folder data.root=DIR, which is trained on with the paper's values"
        )
    check_seed("seed", config.seed)
    check_flag("score_before", config.score_before)
    check_flag("compile", config.compile)
    check_int("estimate_steps", config.estimate_steps, high=1000, otherwise="or 0 for no table")
    check_int("fit_images", config.fit_images, low=1)
    check_int("reference_clusters", config.reference_clusters, low=2)
    for key in ("ckpt_path", "weights"):
        if config[key] is not None:
            check_text(key, config[key], "or null for none")
    if config.ckpt_path is not None and config.weights is not None:
        raise DenseSiamError("ckpt_path and weights are both given: a resumed run has its own weights; set one of them")


def references_of(config: DictConfig, data: Any) -> list[Task]:
    """The reference methods, not fitted yet; empty without labels to score them on."""
    if data.val is None:
        return []
    return [
        task_for(reference, data, partial(MAKE, name=str(name)))
        for name, reference in config.references.items()
        if reference is not None
    ]


def initialise(run: Run, plain: Mapping[str, Any], start: Start | None) -> list[str]:
    """Give the task its data and its initial weights; returns remarks for the user, one line each."""
    if start is None:
        run.task.prepare(run.data, some_training_images(run, plain))
    else:
        check_fits(run.task.upgraded(start.weights), run.task, start.path)
        run.task.prepare(run.data)
    taken_over = (
        [] if plain["weights"] is None else [str(load_pretrained(run.task.pretrained_part(), plain["weights"]))]
    )
    encoders = [each.report for each in run.task.modules() if isinstance(each, Encoder)]
    return [*taken_over, *(str(report) for report in encoders if report is not None), *run.task.remarks()]


def begin_logs(run: Run, plain: Mapping[str, Any], start: Start | None) -> None:
    """Write the config to every logger.

    A resumed run continues its run in wandb, and loses the rows of its csv file that follow its checkpoint.
    """
    for logger in run.trainer.loggers:
        if start is not None and isinstance(logger, Csv):
            logger.go_on_from(start.step)
        if start is not None and start.wandb_id is not None and isinstance(logger, Wandb):
            logger.go_on_with(start.wandb_id)
        logger.log_hyperparams(dict(plain))


def estimate_cost(run: Run, config: DictConfig) -> None:
    """Measure a few steps and print the time, memory and disk space that the run will take."""
    make = partial(make_trainer, config.trainer)
    worst_case = run.task.worst_case()
    if config.compile:
        compile_parts(worst_case, run.trainer.strategy.root_device.type == "cuda")
    measured = measure(make, worst_case, run.data, config.estimate_steps)
    if run.trainer.is_global_zero:
        print_cost_estimate(measured, plan_of(run.trainer), Path(config.paths.output))


def score_before(run: Run, plain: Mapping[str, Any], references: Iterable[Task]) -> dict[str, Scored]:
    """Score the network before training, and the reference methods; empty without labels."""
    rows: dict[str, Scored] = {}
    if not run.task.is_scored:
        return rows
    if plain["score_before"]:
        rows |= score(run.trainer, run.task, run.data, "before training")
    for reference in references:
        reference.prepare(run.data, some_training_images(run, plain))
        rows |= score(run.trainer, reference, run.data, reference.label)
    return rows


def some_training_images(run: Run, plain: Mapping[str, Any]) -> Iterable[Tensor]:
    """Batches of the training images that reference methods and necks are fitted on; each is read when it is needed."""
    generator = torch.Generator().manual_seed(plain["seed"])
    yield from run.data.whole_train_dataloader(plain["fit_images"], generator)


def report(
    run: Run,
    rows: Mapping[str, Scored],
    cost: Mapping[str, Any],
    plain: Mapping[str, Any],
    made_from: Mapping[str, Any],
) -> None:
    """Print the scores and the places of the outputs, and write `scores.json`."""
    output = Path(plain["paths"]["output"])
    reason = "without labels" if run.data.val is None else "trainer.limit_val_batches=0"
    described = {"data": f"{reason}, nothing is scored"}
    if rows:
        described = {**run.data.describe(), **run.task.scored_on()}
        print_scores(rows, described)
    callbacks: list[Callback] = cast(Any, run.trainer).callbacks  # Lightning does not declare them
    label_free = next((each.last for each in callbacks if isinstance(each, LabelFreeMonitor)), None)
    matched = run.task.matched() if rows else None
    log_scores(run, rows, label_free or {})
    path = output / "scores.json"
    write_scores(path, rows, described, cost, plain, made_from, label_free=label_free, matched=matched)
    print(f"{cost['steps']} steps in {cost['train_seconds']:.0f} s; {left_behind(output)}")


def log_scores(run: Run, rows: Mapping[str, Scored], label_free: Mapping[str, float]) -> None:
    """Give the table of scores to every logger, and as `scores/...` the last row's numbers, by which runs are compared.

    Without labels, runs are compared by the label-free metrics.
    """
    columns, cells = tabulated(rows)
    summary = {f"scores/{name}": value for name, value in numbers(rows["after training"]).items()} if rows else {}
    summary |= {f"label_free/{name}": value for name, value in label_free.items()}
    for logger in run.trainer.loggers:
        if isinstance(logger, Tolerant):
            logger.log_scores(columns, cells, summary, run.trainer.global_step)


def left_behind(output: Path) -> str:
    """A text that names the outputs in a run's folder; `trainer.fast_dev_run`, for example, writes no checkpoint."""
    names = ("scores.json", "pictures", last := "checkpoints/last.ckpt")
    there = [name for name in names if (output / name).exists()]
    return f"{', '.join(there)} in {output}{'' if last in there else '; no checkpoint was written'}"
