"""The task of detectors: falling losses, scores, weights of other runs, exact resume, precision and processes."""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import torchvision
from hydra.utils import instantiate
from torch import Tensor, nn
from torch.utils.data import DataLoader

from src.assembly.train import train
from src.checkpoints.loading import load_deployed
from src.checkpoints.pretrained import load_pretrained
from src.evaluation.detection_protocol import DetectionProtocol
from src.metrics import Category
from src.models.c4 import faster_rcnn, resnet_c4
from src.models.detection import DetectionNetwork
from src.optim import sgd
from src.prediction.detector import Detector
from src.prediction.loading import load, load_segmenter
from src.tasks.detection import Detect
from src.tasks.finetuning import groups_by_decay
from tests.composing import composed
from tests.data.detection_trees import voc_data
from tests.detecting import (
    coco_tree,
    faster_overrides,
    mask_overrides,
    proposals,
    regions,
    small_faster_rcnn,
    small_mask_rcnn,
    square_batch,
    voc_tree,
)
from tests.processes import in_two_processes
from tests.refusals import refusal

MAKERS: dict[str, Callable[..., DetectionNetwork]] = {"faster_rcnn": small_faster_rcnn, "mask_rcnn": small_mask_rcnn}
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
TREES = {"faster_rcnn": (voc_tree, faster_overrides), "mask_rcnn": (coco_tree, mask_overrides)}


def make_task(name: str | Callable[..., DetectionNetwork] = "faster_rcnn", lr: float = 0.02) -> Detect:
    torch.manual_seed(0)
    classes = [Category("cat", "thing"), Category("dog", "thing")]
    protocol = DetectionProtocol("test", "coco" if name == "mask_rcnn" else "voc2007", 64, 96, 0)
    made = MAKERS[name] if isinstance(name, str) else name
    return Detect(made, classes, sgd(lr, 16, 0.9, 1e-4, 16), None, 0, protocol)


class Batches(DataLoader[Any]):
    """A loader of ready batches."""

    def __init__(self, batches: list[dict[str, Any]]) -> None:
        super().__init__(batches, batch_size=None)


def fit(task: Detect, batches: list[dict[str, Any]], **options: Any) -> None:
    """Train on batches and validate on one image, without anything beside."""
    values = {"max_epochs": 1, "num_sanity_val_steps": 0, **QUIET, **options}
    lightning.Trainer(accelerator="cpu", **values).fit(task, Batches(batches), Batches([square_batch([2])]))


@pytest.mark.parametrize("name", MAKERS)
def test_the_losses_fall_in_twenty_steps(name: str) -> None:
    task, seen = make_task(name), []

    class Kept(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
            seen.append(outputs["loss"].item())

    fit(task, [square_batch([0, 1])] * 20, callbacks=[Kept()], limit_val_batches=0)
    assert len(seen) == 20
    assert sum(seen[-5:]) < 0.7 * sum(seen[:5])


@pytest.mark.slow
@pytest.mark.parametrize("name", TREES)
def test_a_run_is_scored_drawn_and_loaded_again(name: str, tmp_path: Path) -> None:
    make, overrides = TREES[name]
    given = [*overrides(make(tmp_path / "data")), "trainer.fast_dev_run=false", "trainer.max_steps=3"]
    final = train(composed(tmp_path / "run", *given, "estimate_steps=1"))
    written = json.loads((tmp_path / "run" / "scores.json").read_text())
    found = written["scores"]["after training"]
    assert list(written["scores"]) == ["after training"]
    assert found["AP"] == pytest.approx(final)
    assert ("mask_AP50" in found) == (name == "mask_rcnn")
    assert {"AP50", "AP75"} <= set(found)
    assert written["cost"]["steps"] == 3
    assert len(list((tmp_path / "run" / "pictures").glob("detector_step*.png"))) >= 1
    network, checkpoint = load_deployed(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert [each["name"] for each in checkpoint["classes"]] == ["cat", "dog"]
    with torch.no_grad():
        detections = network(square_batch([1, 2])["image"])
    assert [set(each) >= {"boxes", "scores", "labels"} for each in detections] == [True, True]
    ckpt = tmp_path / "run" / "checkpoints" / "last.ckpt"
    detector = load(ckpt)
    assert isinstance(detector, Detector)
    assert detector.names == ["cat", "dog"]
    refusal(lambda: load(ckpt, scores="scores.json"), "finds objects", "leave scores=null")
    refusal(lambda: load_segmenter(ckpt), "finds objects", "src.predict")


@pytest.mark.slow
def test_a_run_that_is_resumed_ends_like_one_that_was_not_stopped(tmp_path: Path) -> None:
    given = [*faster_overrides(voc_tree(tmp_path / "data")), "trainer.fast_dev_run=false", "trainer.max_steps=3"]
    run = [*given, "+trainer.limit_val_batches=0", "callbacks.checkpoint.every_n_steps=1"]
    train(composed(tmp_path / "whole", *run))
    ckpt = tmp_path / "whole" / "checkpoints"
    whole, before = (torch.load(ckpt / name, weights_only=False) for name in ("last.ckpt", "previous.ckpt"))
    assert (before["global_step"], whole["global_step"]) == (2, 3)
    train(composed(tmp_path / "rest", *run, f"ckpt_path={ckpt / 'previous.ckpt'}"))
    rest = torch.load(tmp_path / "rest" / "checkpoints" / "last.ckpt", weights_only=False)
    assert rest["global_step"] == 3
    assert [
        name for name, value in whole["state_dict"].items() if not torch.equal(value, rest["state_dict"][name])
    ] == []


@pytest.mark.parametrize("precision", ["bf16-mixed"])
def test_mixed_precision_trains(precision: str) -> None:
    task = make_task("mask_rcnn")
    fit(task, [square_batch([0, 1])] * 2, precision=precision)
    assert all(one.isfinite().all() for one in task.state_dict().values())


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_true_precisions_are_refused(precision: str) -> None:
    task = make_task()
    refusal(lambda: fit(task, [], precision=precision), f"trainer.precision is {precision}", "bf16-mixed")


def test_a_loss_that_is_not_finite_names_every_term() -> None:
    task = make_task()
    with torch.no_grad():
        task.network.rcnn.roi_heads.box_predictor.cls_score.bias.fill_(float("nan"))
    refusal(lambda: fit(task, [square_batch([4, 5])]), "at step 0: classifier nan", "for 4, 5; lower")


@pytest.mark.parametrize("name", MAKERS)
def test_the_backbone_starts_from_the_weights_of_another_run(name: str, tmp_path: Path) -> None:
    state = torchvision.models.resnet18().state_dict()
    named = {f"network.encoder.backbone.{key}": value for key, value in state.items() if not key.startswith("fc.")}
    torch.save({"state_dict": {**named, "network.head.projector.0.weight": torch.zeros(2)}}, tmp_path / "last.ckpt")
    task = make_task(name)
    report = load_pretrained(task.pretrained_part(), tmp_path / "last.ckpt")
    assert len(report.matched) == len(named) == 120
    assert not report.missing
    whole = task.network.backbone().state_dict()
    assert all(torch.equal(whole[key], state[key]) for key in whole)


def test_what_does_not_fit_together_is_refused() -> None:
    task = make_task()
    refusal(lambda: Detect(None, [], sgd(0.1, 1, 0.9, 0), None, 0, task.protocol), "task.network is None")
    refusal(lambda: Detect(small_faster_rcnn, [], None, None, 0, task.protocol), "task.optimizer is None")
    refusal(lambda: Detect(small_faster_rcnn, [], sgd(0.1, 1, 0.9, 0), None, 0, None), "protocol is None")


class Gradients(lightning.Callback):
    def __init__(self) -> None:
        self.found: list[dict[str, Tensor]] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.found.append({name: each.grad.clone() for name, each in pl_module.named_parameters()})


def without_draws(num_classes: int, side: int, longest: int) -> DetectionNetwork:
    """A detector with all anchors and regions, so that every image counts alike in a mean over a batch."""
    everything = {"foreground_iou": 0.5, "foreground_share": 1.0, "samples": 10_000}
    kept = dict.fromkeys(("kept_train", "kept_test", "train", "test"), 1000)
    anchors = proposals([[16, 32, 64]], background_iou=0.5, nms_iou=1.0, **kept, **everything)
    found = regions(min_score=0.0, detections=100, **everything)
    return faster_rcnn(resnet_c4("resnet18", None, False), 4, anchors, found, num_classes, side, longest)


def gradients_of(share: slice, trainer: str) -> list[dict[str, Tensor]]:
    """The gradients of two steps on a share of each batch, with fixed statistics of batch norm."""
    task, callback, config = make_task(without_draws), Gradients(), composed(Path(), f"trainer={trainer}").trainer
    for module in task.network.train().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    batches = [square_batch(numbers[share]) for numbers in ([0, 1], [2, 3])]
    instantiate(config, max_steps=2, max_epochs=-1, callbacks=[callback], **QUIET).fit(task, Batches(batches), [])
    return callback.found


def gradients_of_half(rank: int) -> list[dict[str, Tensor]]:
    os.environ["LOCAL_RANK"] = str(rank)  # tells Lightning that the processes are there already
    return gradients_of(slice(rank, rank + 1), "ddp_cpu")


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    alone = gradients_of(slice(None), "default")
    assert len(alone) == 2
    for shared in in_two_processes(gradients_of_half, tmp_path):
        for one, other in zip(alone, shared, strict=True):
            for name, gradient in one.items():
                difference = (other[name] - gradient).norm()
                assert difference <= 1e-3 * gradient.norm() + 1e-7, name


def scores_of(root: Path, trainer: str) -> dict[str, float]:
    """The scores of a network on the three images of a folder."""
    task, config = make_task(without_draws), composed(Path(), f"trainer={trainer}").trainer
    instantiate(config, **QUIET).validate(task, voc_data(root, classes=["cat", "dog"]), verbose=False)
    return task.scoring.scores


def scores_of_share(root: Path, rank: int) -> dict[str, float]:
    os.environ["LOCAL_RANK"] = str(rank)
    return scores_of(root, "ddp_cpu")


@pytest.mark.slow
def test_two_processes_score_an_odd_number_of_images_as_one(tmp_path: Path) -> None:
    """The network is not trained, but it has so many detections that some are right."""
    root = voc_tree(tmp_path / "data")
    alone = scores_of(root, "default")
    assert 0 < alone["AP"] < 100
    assert in_two_processes(partial(scores_of_share, root), tmp_path) == [alone] * 2  # to the last bit


def test_batch_norm_has_no_weight_decay() -> None:
    """As in detectron2; every parameter that learns is in one group."""
    task = make_task()
    network = task.network
    decayed, free = groups_by_decay(network)
    assert (decayed.get("weight_decay"), free["weight_decay"]) == (None, 0.0)
    norms = {name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)}
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert {names[id(each)].rpartition(".")[0] for each in free["params"]} == norms
    assert {id(each) for each in (*decayed["params"], *free["params"])} == set(names)
