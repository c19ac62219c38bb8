"""Score a checkpoint: `python -m src.evaluate ckpt_path=FILE`, on the data it was trained with or elsewhere.

With `baseline_path=FILE` another one is scored on the same images, and their difference has an interval of its own.
With `probe=own_labels` or `probe=labelled_folder probe.root=DIR` a checkpoint that segments has a second row, of a
linear probe on its frozen features, see `LinearlyProbed`.
"""

import time
from pathlib import Path
from typing import Any, cast

import hydra
import lightning
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from src.checkpoints import read_checkpoint, task_config
from src.console import hush_libraries
from src.errors import DenseSiamError, plain_errors
from src.intervals import ImageMatrices, paired_difference
from src.protocol import Protocol
from src.provenance import config_hash, file_record
from src.run_folder import in_own_folder
from src.scores import Scored, print_difference, print_scores, write_scores
from src.tasks.pretrain import Pretrain
from src.tasks.probes import LinearlyProbed, ProbeSettings
from src.tasks.scoring import score


@hydra.main(config_path="../conf", config_name="evaluate", version_base="1.3")
def main(config: DictConfig) -> float:
    hush_libraries()
    with plain_errors():
        return evaluate(config)


@in_own_folder(resumes=False)
def evaluate(config: DictConfig) -> float:
    """Rebuild data and task from the config in the checkpoint, score, print the table and write `scores.json`.

    Args:
        config: as `conf/evaluate.yaml` composes it. What is not null in `data` and `protocol` replaces the checkpoint's
            own; a baseline is scored under the same ones.

    Returns:
        mIoU of the checkpoint in percent.

    Raises:
        DenseSiamError: no such checkpoint; data that isn't there or has no labels; two that can't be compared.
    """
    started = time.perf_counter()
    checkpoint = read_checkpoint(config.ckpt_path)
    checkpoints = {"checkpoint": checkpoint}
    if config.baseline_path is not None:
        checkpoints["baseline"] = read_checkpoint(config.baseline_path)
    setting = as_asked(checkpoint["config"], config)
    protocol: Protocol = instantiate(setting.protocol)
    data = instantiate(setting.data, protocol=protocol, _convert_="all")
    if "_target_" in setting.probe:
        data = instantiate(setting.probe, data=data, _convert_="all")
    if data.val is None:
        raise DenseSiamError(
            "the data has no labels to score: give some that have, such as data=labelled_folder data.root=DIR, or, for "
            "a checkpoint of pre-training, probe=labelled_folder probe.root=DIR"
        )
    callbacks = [instantiate(callback) for callback in config.callbacks.values() if callback is not None]
    trainer: lightning.Trainer = instantiate(config.trainer, callbacks=callbacks, logger=False, _convert_="all")

    rows: dict[str, Scored] = {}
    matrices: list[ImageMatrices] = []
    settings = cast(ProbeSettings, OmegaConf.to_container(config.linear_probe))
    for label, each in checkpoints.items():
        task = task_of(each, data.classes, protocol)
        task.name = label  # of its pictures
        rows |= score(trainer, task, data, label)
        matrices.append(task.scoring.matrices)
        if hasattr(data, "labelled_dataloader") and not isinstance(task, Pretrain):  # which has probes of its own
            probe = LinearlyProbed(task.network, data.classes, settings, protocol, name=f"{label}_linear_probe")
            rows |= score(trainer, probe, data, f"{label}, linear probe")
    difference = paired_difference(matrices[0], matrices[1], protocol.resamples) if len(matrices) > 1 else {}

    if trainer.is_global_zero:
        described = {**data.describe(), "images": matrices[0].counts.shape[0], **protocol.describe()}
        used = cast(dict[str, Any], OmegaConf.to_container(setting, resolve=True))
        used |= {"ckpt_path": config.ckpt_path, "baseline_path": config.baseline_path}
        if "checkpoint, linear probe" in rows:
            described["probes"] = f"linear (not matched), fitted on {len(data.fitted_on)} images, {data.fitted_on}"
            used["linear_probe"] = dict(settings)
        output = Path(config.paths.output)
        print_scores(rows, described)
        print_difference(difference)
        cost = {"seconds": time.perf_counter() - started}
        made_from: dict[str, Any] = {"config": config_hash(used)}
        for (label, each), path in zip(checkpoints.items(), (config.ckpt_path, config.baseline_path), strict=False):
            made_from[label] = {**file_record(path), "origin": each.get("origin")}
        write_scores(output / "scores.json", rows, described, cost, used, made_from, difference)
        print(f"scores and pictures in {output}")
    return rows["checkpoint"].scores["mIoU"]


def as_asked(trained: dict[str, Any], config: DictConfig) -> DictConfig:
    """The checkpoint's config with the data and protocol that the command line asks for."""
    # Unresolved, as its values may refer to the checkpoint's.
    unresolved = cast(dict[str, Any], OmegaConf.to_container(config, resolve=False))
    asked = {group: unresolved[group] for group in ("data", "probe", "protocol")}
    if "_target_" in asked["data"]:
        asked["data"]["views"] = trained["data"]["views"]  # of the training: `protocol=paper` takes its size from them
        if "_target_" in trained["probe"] and "_target_" not in asked["probe"]:
            raise DenseSiamError(
                "a checkpoint of pre-training is scored on its probe set, not on data: set probe=labelled_folder "
                "probe.root=DIR, or with data=... probe=own_labels"
            )
    for group in ("data", "probe"):
        if "_target_" in asked[group]:  # another data set, not other values of the same
            trained = {**trained, group: asked[group]}
    return cast(DictConfig, OmegaConf.merge(trained, {group: present(values) for group, values in asked.items()}))


def present(values: dict[str, Any]) -> dict[str, Any]:
    """Those that are not null."""
    return {key: value for key, value in values.items() if value is not None}


def task_of(checkpoint: dict[str, Any], classes: Any, protocol: Protocol) -> Any:
    """The trained task of a checkpoint, to be scored on these classes under this protocol."""
    task = instantiate(
        OmegaConf.create(task_config(checkpoint["config"])), classes=classes, protocol=protocol, _convert_="all"
    )
    task.load_state_dict(checkpoint["state_dict"])
    return task


if __name__ == "__main__":
    main()
