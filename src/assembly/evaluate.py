"""Scores a checkpoint, on the data of its training or on other data.

With `baseline_path=FILE`, another checkpoint is scored on the same images, and the difference of the scores gets an
interval. With `probe=own_labels` or `probe=labelled_folder probe.root=DIR`, a segmentation checkpoint gets a second row
of scores, from a linear probe on its frozen features, see `LinearlyProbed`.
"""

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from src.assembly.assemble import Run, assemble, task_for
from src.checkpoints.loading import fill, part_of, read_rebuildable
from src.checkpoints.provenance import config_hash, file_record
from src.checkpoints.reading import check_plain
from src.checkpoints.rebuilding import rebuild, targets
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
        mIoU of the checkpoint in percent.

    Raises:
        DenseSiamError: a checkpoint can't be read; the data is missing or has no labels; or checkpoint and baseline
            can't be compared.
    """
    started = time.perf_counter()
    paths = checked_paths(config)
    settings: ProbeSettings = instantiate(config.linear_probe, _convert_="all")
    asked = command_groups(config)
    named = targets(asked)
    checkpoints = {label: read_rebuildable(path, named) for label, path in paths.items()}
    for each in checkpoints.values():
        check_plain(each.get("origin"))  # the origin is written to scores.json
    setting = merge_overrides(checkpoints["checkpoint"]["config"], asked, config.ckpt_path)
    make = partial(rebuild, also=named)
    own = {"trainer": config.trainer, "callbacks": config.callbacks, "logger": {}}
    run = assemble({**setting, **own}, make, "validate")
    if run.data.val is None:
        raise DenseSiamError(
            "the data has no labels to score: give some that have, such as data=labelled_folder data.root=DIR, or, for "
            "a checkpoint of pre-training, probe=labelled_folder probe.root=DIR"
        )

    rows: dict[str, Scored] = {}
    tasks: dict[str, Task] = {}
    for label, path in paths.items():
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


def command_groups(config: DictConfig) -> dict[str, Any]:
    """Data, probe and protocol of the command line, unresolved, because they may refer to values of the checkpoint."""
    unresolved = cast(dict[str, Any], OmegaConf.to_container(config, resolve=False))
    return {group: unresolved[group] for group in ("data", "probe", "protocol")}


def merge_overrides(trained: dict[str, Any], asked: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The checkpoint's config with the data, probe and protocol of the command line, resolved.

    Args:
        trained: the config in the checkpoint.
        asked: see `command_groups`.
        path: the path of the checkpoint, for the messages.

    Raises:
        DenseSiamError: a checkpoint of pre-training gets other data but no probe, or the stored config lacks a group.
    """
    stored = {group: part_of(trained, group, path) for group in ("data", "probe", "protocol")}
    wanted = {group: drop_nulls(values) for group, values in asked.items()}
    if "_target_" in wanted["data"]:  # the user gives another data set, not other values of the stored one
        if "_target_" in stored["probe"] and "_target_" not in wanted["probe"]:
            raise DenseSiamError(
                "a checkpoint of pre-training is scored on its probe set, not on data: set probe=labelled_folder "
                "probe.root=DIR, or with data=... probe=own_labels"
            )
        views = part_of(stored["data"], "views", path)  # `protocol=paper` takes its size from them
        stored["data"], wanted["data"] = {**asked["data"], "views": views}, {}
    if "_target_" in wanted["probe"]:
        stored["probe"] = asked["probe"]
    setting = OmegaConf.merge(dict(trained, **stored), wanted)
    return cast(dict[str, Any], OmegaConf.to_container(setting, resolve=True))


def drop_nulls(values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that are not None."""
    return {key: value for key, value in values.items() if value is not None}
