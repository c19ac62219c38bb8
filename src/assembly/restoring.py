"""Builds data, task and trainer again from the config in a checkpoint, which may come from a stranger."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

from omegaconf import DictConfig, OmegaConf

from src.assembly.assemble import Make, Run, assemble
from src.checkpoints.loading import fill, part_of, read_rebuildable
from src.checkpoints.reading import check_plain
from src.checkpoints.rebuilding import rebuild, targets
from src.errors import DenseSiamError
from src.metrics import Category
from src.stored_classes import read_plain_classes


class Restored(NamedTuple):
    """A run that was built from a checkpoint.

    Attributes:
        run: its data, task and trainer.
        setting: the config that they were built from.
        make: builds further parts of the same config, with the same limits.
    """

    run: Run
    setting: dict[str, Any]
    make: Make


def restore(path: Path, config: DictConfig) -> Run:
    """The run of a checkpoint, with its weights.

    Raises:
        DenseSiamError: the checkpoint can't be read, or the data is missing.
    """
    checkpoint = read_rebuildable(path, targets(command_groups(config)))
    run, _, _ = assemble_again(checkpoint["config"], config, str(path))
    check_classes(checkpoint, run.data.classes, path)
    fill(run.task, checkpoint["state_dict"], path)
    run.task.prepare(run.data)
    return run


def assemble_again(trained: dict[str, Any], config: DictConfig, path: str) -> Restored:
    """Build the data and the task of a stored config, without weights, and a trainer of the user's own.

    Args:
        trained: the config in the checkpoint.
        config: the config of the command. Values of `data`, `probe` and `protocol` that are not null replace those of
            the checkpoint.
        path: the path of the checkpoint, for the messages.

    Raises:
        DenseSiamError: the stored config is not allowed (see `rebuild`) or incomplete, or the data is missing.
    """
    asked = command_groups(config)
    setting = merge_overrides(trained, asked, path)
    make = partial(rebuild, also=targets(asked))
    own = {"trainer": config.trainer, "callbacks": config.callbacks, "logger": {}}
    return Restored(assemble({**setting, **own}, make, "validate"), setting, make)


def check_classes(checkpoint: Mapping[str, Any], classes: Sequence[Category], path: str | Path) -> None:
    """Refuse labels of other classes than those that the network of a checkpoint learned; others are matched.

    Raises:
        DenseSiamError: the classes differ; the message names the first that does.
    """
    stored = checkpoint.get("classes")
    if stored is None:
        return
    check_plain(stored)
    learned = [one.name for one in read_plain_classes(stored, str(path))]
    found = [one.name for one in classes]
    if learned == found:
        return
    where = next((place for place, pair in enumerate(zip(learned, found, strict=False)) if pair[0] != pair[1]), None)
    differ = "" if where is None else f", and class {where} is {learned[where]!r} there and {found[where]!r} here"
    raise DenseSiamError(
        f"{path} was trained on the labels of {len(learned)} classes, the data has {len(found)}{differ}: expected the "
        "same classes in the same order; fine-tune a network on this data, or give labels of those classes"
    )


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
