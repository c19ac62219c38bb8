"""Scores a checkpoint, on the data of its training or on other data.

With `baseline_path=FILE`, another checkpoint is scored on the same images, and the difference of the scores gets an
interval. With `probe=own_labels` or `probe=labelled_folder probe.root=DIR`, a segmentation checkpoint gets a second row
of scores, from a linear probe on its frozen features, see `LinearlyProbed`.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from src.assembly.assemble import Run, task_for
from src.assembly.restoring import assemble_again, check_classes, command_groups
from src.checkpoints.loading import fill, part_of, read_rebuildable
from src.checkpoints.provenance import config_hash, file_record
from src.checkpoints.reading import check_plain
from src.checkpoints.rebuilding import targets
from src.checks import check_filled, check_text
from src.errors import DenseSiamError
from src.evaluation.probing import ProbeSettings
from src.evaluation.scoring import Scored
from src.results.scores import print_difference, print_scores, write_scores
from src.tasks.base import Task, score
from src.tasks.probes import LinearlyProbed
from src.training.run_folder import in_own_folder


@in_own_folder(resumes=False)
def evaluate(config: DictConfig) -> float:
    """Rebuild data and task from the config in the checkpoint, score, print the table and write `scores.json`.

    Args:
        config: the composed `conf/evaluate.yaml`. Values of `data` and `protocol` that are not null replace those of
            the checkpoint; the baseline is scored with the same values.

    Returns:
        The primary metric of the checkpoint, such as mIoU, in percent.

    Raises:
        DenseSiamError: a checkpoint can't be read; the data is missing or has no labels; or checkpoint and baseline
            can't be compared.
    """
    started = time.perf_counter()
    paths = checked_paths(config)
    settings: ProbeSettings = instantiate(config.linear_probe, _convert_="all")
    named = targets(command_groups(config))
    checkpoints = {label: read_rebuildable(path, named) for label, path in paths.items()}
    for each in checkpoints.values():
        check_plain(each.get("origin"))  # the origin is written to scores.json
    run, setting, make = assemble_again(checkpoints["checkpoint"]["config"], config, config.ckpt_path)
    if run.data.val is None:
        raise DenseSiamError(
            "the data has no labels to score: give some that have, such as data=labelled_folder data.root=DIR, or, for "
            "a checkpoint of pre-training, probe=labelled_folder probe.root=DIR"
        )

    rows: dict[str, Scored] = {}
    tasks: dict[str, Task] = {}
    for label, path in paths.items():
        check_classes(checkpoints[label], run.data.classes, path)
        stored = part_of(checkpoints[label]["config"], "task", path)
        task = run.task if label == "checkpoint" else task_for(stored, run.data, make)
        fill(task, checkpoints[label]["state_dict"], path)
        task.name = label  # the name of its pictures
        task.prepare(run.data)
        rows |= score(run.trainer, task, run.data, label)
        rows |= probe_rows(run, task, settings)
        tasks[label] = task
    difference = tasks["checkpoint"].difference(tasks["baseline"]) if "baseline" in tasks else {}

    if run.trainer.is_global_zero:
        described = {**run.data.describe(), **run.task.scored_on()}
        used = setting | {"ckpt_path": config.ckpt_path, "baseline_path": config.baseline_path}
        used["precision"] = run.trainer.precision  # of this evaluation; `trainer` in the config is that of the training
        if "checkpoint, linear probe" in rows:
            images = run.data.fitted_on
            described["probes"] = f"linear (not matched), fitted on {len(images)} images, {images}"
            used["linear_probe"] = OmegaConf.to_container(config.linear_probe, resolve=True)
        output = Path(config.paths.output)
        print_scores(rows, described)
        print_difference(difference)
        cost = {"seconds": time.perf_counter() - started}
        made_from: dict[str, Any] = {"config": config_hash(used)}
        for label, path in paths.items():
            made_from[label] = {**file_record(path), "origin": checkpoints[label].get("origin")}
        file, matched = output / "scores.json", run.task.matched()
        write_scores(file, rows, described, cost, used, made_from, difference, matched=matched)
        print(f"scores and pictures in {output}")
    return rows["checkpoint"].scores[run.task.primary_metric]


def checked_paths(config: DictConfig) -> dict[str, str]:
    """The paths of the checkpoints to score, by the names of their rows.

    Raises:
        DenseSiamError: a path is no text, or a value is empty.
    """
    check_text("ckpt_path", config.ckpt_path)
    if config.baseline_path is not None:
        check_text("baseline_path", config.baseline_path, "or null for none")
    check_filled(OmegaConf.to_container(config, resolve=False))  # values may refer to those of the checkpoint
    paths = {"checkpoint": config.ckpt_path, "baseline": config.baseline_path}
    return {label: path for label, path in paths.items() if path is not None}


def probe_rows(run: Run, task: Task, settings: ProbeSettings) -> Mapping[str, Scored]:
    """The scores of a linear probe on a task's features; empty without labelled images to fit the probe on."""
    network = task.probed_network()
    if network is None or run.data.labelled_dataloader() is None:
        return {}
    probe = LinearlyProbed(network, run.data.classes, settings, run.data.protocol, name=f"{task.name}_linear_probe")
    probe.prepare(run.data)
    return score(run.trainer, probe, run.data, f"{task.name}, linear probe")
