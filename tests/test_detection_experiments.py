"""Every experiment of detection composes and trains on small data; its checkpoint is safe to open."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from src.assembly.assemble import assemble
from src.assembly.train import MAKE, train
from src.checkpoints.loading import load_deployed
from src.checkpoints.reading import check_plain
from tests.composing import EXPERIMENTS, composed
from tests.detecting import coco_tree, faster_overrides, mask_overrides, voc_tree
from tests.refusals import refusal

DETECTORS = [name for name in EXPERIMENTS if name.endswith("_rcnn")]


def overrides(name: str, root: Path) -> list[str]:
    """An experiment on small data, with its own network."""
    given = faster_overrides(voc_tree(root)) if "faster" in name else mask_overrides(coco_tree(root))
    kept = [one for one in given[1:] if not one.startswith("model.")]
    return [f"experiment={name}", *kept]


def test_all_detectors_are_tested() -> None:
    small = ["small_faster_rcnn", "small_mask_rcnn", "small_table2_faster_rcnn"]
    assert ["coco_mask_rcnn", *small, "voc_faster_rcnn"] == DETECTORS


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_everything_of_an_experiment_is_made(name: str, tmp_path: Path) -> None:
    """Its data give batches, its network learns from them, and its callbacks, loggers and trainer exist."""
    config = composed(tmp_path, *overrides(name, tmp_path / "data"))
    run = assemble(config, MAKE, "fit")
    batch = next(iter(run.data.train_dataloader()))
    assert [image.shape[0] for image in batch["image"]] == [3] * 4
    losses = run.task.network.train().losses(batch["image"], batch["label"])
    assert ("mask" in losses) == ("mask" in name)
    assert all(math.isfinite(value.item()) for value in losses.values())
    scored = next(iter(run.data.val_dataloader()))
    with torch.no_grad():
        (found,) = run.task.network.eval()(scored["image"])
    assert ("masks" in found) == ("mask" in name)
    names = {type(one).__name__ for one in run.trainer.callbacks}
    assert "PreciseBN" in names
    assert not names & {"CollapseMonitor", "LabelFreeMonitor", "TrainingPictures"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [lambda root: faster_overrides(voc_tree(root)), lambda root: mask_overrides(coco_tree(root))]
)
def test_a_detector_runs_for_two_steps(make: Callable[[Path], list[str]], tmp_path: Path) -> None:
    """With `fast_dev_run`, and with the callbacks of other tasks."""
    final = train(composed(tmp_path, *make(tmp_path / "data"), "callbacks=default", "~callbacks.precise_bn"))
    assert 0 <= final <= 100


TOO_LARGE = {
    "proposals": {
        **dict.fromkeys(("kept_train", "kept_test", "train", "test", "samples"), 10**8),
        "anchor_ratios": [1.0] * 10**5,
        "anchor_sizes": [[32] * 101],
    },
    "regions": dict.fromkeys(("samples", "sampling", "detections"), 10**8),
}


def larger(part: str, key: str) -> Callable[[Any], None]:
    """Gives a value of a part of the network a size that would fill the memory."""
    return lambda task: task["network"][part].update({key: TOO_LARGE[part][key]})


HOSTILE = {
    **{f"{part}.{key}": larger(part, key) for part, keys in TOO_LARGE.items() for key in keys},
    "pooled size": lambda task: task["network"].update(pooled=10**4),
    "anchor size": lambda task: task["network"]["proposals"].update(anchor_sizes=[[10**30]]),
    "anchor ratio": lambda task: task["network"]["proposals"].update(anchor_ratios=[1e-300]),
    "constructor": lambda task: task.update(_target_="os.system"),
    "network": lambda task: task["network"].update(_target_="builtins.eval"),
    "encoder": lambda task: task["network"]["encoder"].update(_target_="subprocess.Popen"),
    "proposals": lambda task: task["network"]["proposals"].update(_target_="builtins.exec"),
    "name": lambda task: task["network"]["encoder"].update(name="os.system"),
    "anchors": lambda task: task["network"]["proposals"].update(anchor_sizes="__import__('os')"),
    "regions": lambda task: task["network"].update(regions={"samples": 3}),
    "pooled": lambda task: task["network"].update(pooled=[1]),
    "schedule": lambda task: task.update(schedule="x"),
}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run of a detector would save, without having trained."""
    root = tmp_path_factory.mktemp("run")
    config = composed(root, *faster_overrides(voc_tree(root / "data")))
    run = assemble(config, MAKE, "fit")
    checkpoint: dict[str, Any] = {"config": OmegaConf.to_container(config, resolve=True), "epoch": 0, "global_step": 1}
    run.task.on_save_checkpoint(checkpoint)
    return {**checkpoint, "state_dict": run.task.state_dict(), "origin": {}}


def test_an_honest_checkpoint_is_loaded(honest: dict[str, Any], tmp_path: Path) -> None:
    torch.save(honest, tmp_path / "last.ckpt")
    assert not load_deployed(tmp_path / "last.ckpt").network.training


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_checkpoint_is_refused(name: str, honest: dict[str, Any], tmp_path: Path) -> None:
    plain = OmegaConf.to_container(OmegaConf.create(honest["config"]))
    check_plain(plain)
    HOSTILE[name](plain["task"])
    torch.save({**honest, "config": plain}, tmp_path / "last.ckpt")
    refusal(lambda: load_deployed(tmp_path / "last.ckpt"))
