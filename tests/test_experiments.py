"""Every experiment composes, and all that it names can be made on small data; one of each task is trained."""

import json
import math
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from src.assembly.assemble import assemble
from src.assembly.train import MAKE, references_of, some_training_images, train
from tests.composing import CONF, EXPERIMENTS, composed
from tests.data.trees import cityscapes_tree, potsdam_tree

SUPERVISED = ("cityscapes_fcn", "small_fcn", "small_table2_fcn")
PROBES = ("dense_probe", "small_probe")
TREES = {"cityscapes_seg": cityscapes_tree, "cityscapes_fcn": cityscapes_tree, "potsdam_seg": potsdam_tree}
DETECTORS = [name for name in EXPERIMENTS if name.endswith("_rcnn")]  # tests/test_detection_experiments.py has them
METHODS = {f"coco_{name}": name for name in ("picie", "iic", "deepcluster")}  # and their tasks


def roots(name: str, labelled_root: Path, coco_root: Path, tmp_path: Path) -> list[str]:
    """Where an experiment finds its data in a test."""
    if name in TREES:
        return [f"data.root={TREES[name](tmp_path / 'data')}"]
    if name in ("demo", "demo_pretrain"):
        return ["data.train_scenes=8", "data.val_scenes=5", "data.scene_size=32"]
    if name == "in1k_pretrain":
        return [f"data.root={coco_root}", "data.images=train2017"]
    if name == "coco128_pretrain":
        return [
            f"data.root={labelled_root / 'images' / 'train'}",
            f"probe.root={labelled_root}",
        ]
    if name == "coco_pretrain":
        return [f"data.root={coco_root}"]
    if name.startswith("coco_"):
        return [f"data.root={coco_root}"]
    if name in ("photos", "small_pretrain"):
        return [f"data.root={labelled_root / 'images' / 'train'}"]
    return [f"data.root={labelled_root}", "data.train_splits=[train]"]


def tiny(name: str, labelled_root: Path, coco_root: Path, tmp_path: Path, *more: str) -> DictConfig:
    """The config of an experiment on small data."""
    overrides = [f"experiment={name}", "debug=tiny", *roots(name, labelled_root, coco_root, tmp_path)]
    if name.endswith("_best") or name == "photos":
        overrides.append("model.neck.channels=16")  # principal components: a handful of images has few pixels
    if name in SUPERVISED:
        overrides += ["model.channels=8", "model.aux_channels=4"]
    return composed(tmp_path, *overrides, *more)


def is_scored(name: str) -> bool:
    return name not in ("coco_pretrain", "in1k_pretrain", "small_pretrain", "photos")


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name not in DETECTORS])
def test_everything_of_an_experiment_is_made(name: str, labelled_root: Path, coco_root: Path, tmp_path: Path) -> None:
    """Its data give batches, its network maps them, and its references, callbacks, loggers and trainer exist."""
    config = tiny(name, labelled_root, coco_root, tmp_path)
    run = assemble(config, MAKE, "fit")
    data, task = run.data, run.task
    task.prepare(data, some_training_images(run, config))
    batch = next(iter(data.train_dataloader()))
    views = [batch["image"]] if name in SUPERVISED else batch["views"]
    assert [tuple(view.shape) for view in views] == [(4, 3, 32, 32)] * len(views)
    scored = list(data.val_dataloader()) if is_scored(name) else []
    assert bool(scored) == (data.val is not None)
    with torch.no_grad():
        features = task.network.eval().features(views[-1].float() / 255)
    assert features.shape[0] == 4
    assert features.isfinite().all()
    assert [each.label for each in references_of(config, data)][:1] == (
        [] if "_pretrain" in name or name in ("photos", *PROBES, *SUPERVISED) else ["k-means on colour"]
    )


@pytest.mark.parametrize("name", ["coco_seg", "camvid_seg_best"])
def test_a_segmentation_runs_with_all_its_losses(
    name: str, labelled_root: Path, coco_root: Path, tmp_path: Path
) -> None:
    final = train(tiny(name, labelled_root, coco_root, tmp_path, "task.region_start=0.0"))
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["scores"]["after training"]["mIoU"] == pytest.approx(final)
    assert written["cost"]["steps"] > 0
    assert {"before training", "k-means on colour"} <= set(written["scores"])


@pytest.mark.parametrize("name", ["coco128_pretrain", "in1k_pretrain"])
def test_a_pretraining_runs_with_all_its_losses(
    name: str, labelled_root: Path, coco_root: Path, tmp_path: Path
) -> None:
    """On unlabelled data nothing is scored; with a probe set, both probes are, before and after training."""
    final = train(tiny(name, labelled_root, coco_root, tmp_path, "task.region_start=0.0"))
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["cost"]["steps"] > 0
    if is_scored(name):
        labels = [f"{when} training{probe}" for when in ("before", "after") for probe in ("", ", k-means")]
        assert list(written["scores"]) == labels
        assert written["scores"]["after training"]["mIoU"] == pytest.approx(final)
    else:
        assert written["scores"] == {}
        assert math.isnan(final)


@pytest.mark.parametrize("name", METHODS)
def test_other_methods_run(name: str, coco_root: Path, tmp_path: Path) -> None:
    final = train(composed(tmp_path, f"experiment={name}", "debug=tiny", f"data.root={coco_root}"))
    written = json.loads((tmp_path / "scores.json").read_text())
    merged = [] if name == "coco_deepcluster" else ["after training, merged"]  # it has no over-clustering
    before = ["before training", *(label.replace("after", "before") for label in merged)]
    assert list(written["scores"]) == [*before, "k-means on colour", "after training", *merged]
    assert written["scores"]["after training"]["mIoU"] == pytest.approx(final)
    cost = written["cost"]
    assert cost["steps"] == 2
    assert cost["train_images"] == 8
    assert (cost["clustering_seconds"] > 0) == (name != "coco_iic")
    parts = cost["loading_seconds"] + cost["clustering_seconds"] + cost["step_seconds"]
    assert cost["train_seconds"] == pytest.approx(parts)


@pytest.mark.parametrize("name", METHODS)
def test_other_methods_have_the_setting_of_coco_seg(name: str, tmp_path: Path) -> None:
    config, ours = composed(tmp_path, f"experiment={name}"), composed(tmp_path, "experiment=coco_seg")
    assert [key for key in ours if key != "task" and config[key] != ours[key]] == []
    assert config.task == composed(tmp_path, f"task={METHODS[name]}", "experiment=coco_seg").task


@pytest.mark.parametrize("name", SUPERVISED)
def test_a_supervised_network_is_fine_tuned(name: str, labelled_root: Path, coco_root: Path, tmp_path: Path) -> None:
    final = train(tiny(name, labelled_root, coco_root, tmp_path))
    written = json.loads((tmp_path / "scores.json").read_text())
    assert list(written["scores"]) == ["before training", "after training"]
    assert written["scores"]["after training"]["mIoU"] == pytest.approx(final)
    assert written["matched"]["method"] == "identity"


@pytest.mark.parametrize("name", SUPERVISED)
@pytest.mark.parametrize("data", ["voc_segmentation", "labelled_folder", "cityscapes19"])
def test_supervised_experiments_compose_with_other_data(name: str, data: str, tmp_path: Path) -> None:
    config = composed(tmp_path, f"experiment={name}", f"data={data}", "data.root=DIR")
    known = composed(tmp_path, f"data={data}", "data.root=DIR", "data/views=scaled_crop").data
    changed = {"views", "batch_size", "num_workers"}
    assert {key: value for key, value in config.data.items() if key not in changed} == {
        key: value for key, value in known.items() if key not in changed
    }
    assert config.data.views["_target_"] == "src.data.scaled_crop.ScaledCrop"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_first_lines_say_how_to_run_it(name: str) -> None:
    head = (CONF / "experiment" / f"{name}.yaml").read_text().splitlines()[:2]
    command = "python -m src.train" if name == "demo" else f"python -m src.train experiment={name}"
    assert head[0] == "# @package _global_"
    assert head[1].startswith(f"# {command}")


def test_cityscapes_fcn_is_mmsegmentations_setting(tmp_path: Path) -> None:
    """configs/fcn/fcn_r50-d8_769x769_40k_cityscapes.py and what it inherits, with the torchvision stem."""
    config = composed(tmp_path, "experiment=cityscapes_fcn")
    assert (config.data.num_classes, config.data.batch_size, config.trainer.max_steps) == (19, 16, 40_000)
    encoder, model, views = config.model.encoder, config.model, config.data.views
    assert (encoder.name, encoder.output_stride, encoder.align_corners) == ("resnet50", 8, True)
    assert (model.channels, model.num_convs, model.concat_input, model.aux_channels) == (512, 2, True, 256)
    assert (model.dropout, dict(config.task.loss_weights)) == (0.1, {"main": 1.0, "aux": 0.4})
    assert (views.size, list(views.scale), views.most_of_one_class) == (769, [0.5, 2.0], 0.75)
    assert views.flip_probability == 0.5
    optimizer = config.task.optimizer
    found = (optimizer.base_lr, optimizer.base_batch_size, optimizer.momentum, optimizer.weight_decay)
    assert found == (0.01, 16, 0.9, 5e-4)
    assert (config.task.schedule.power, config.task.schedule.min_lr) == (0.9, 1e-4)
    assert (config.protocol.side, config.protocol.window, config.protocol.stride) == ("own", 769, 513)


def test_coco_seg_is_the_papers_setting(tmp_path: Path) -> None:
    config = composed(tmp_path, "experiment=coco_seg")
    assert (config.data.batch_size, config.trainer.max_epochs, config.data.views.size) == (256, 10, 320)
    assert (config.model.num_categories, config.model.num_aux_categories) == (27, 128)
    assert config.model.encoder.name == "resnet18"
    assert config.model.encoder.weights == "IMAGENET1K_V1"
    assert not config.model.encoder.frozen
    optimizer = config.task.optimizer
    assert (optimizer.base_lr, optimizer.batch_size, optimizer.momentum, optimizer.weight_decay) == (
        0.05,
        256,
        0.9,
        1e-4,
    )
    assert dict(config.task.loss_weights) == {"dense": "balanced", "region": 0.1, "seg": 1.0, "aux": "balanced"}
    assert config.task.region_start == 0.8
    assert (
        config.task.criterion.distance,
        config.task.criterion.seg_weighting,
        config.task.criterion.region_temperature,
    ) == (
        "cross_entropy",
        "frequency",
        0.1,
    )
    colour = config.data.views.colour
    jitter = (colour.brightness, colour.contrast, colour.saturation, colour.hue)
    assert jitter == (0.3, 0.3, 0.3, 0.1)
    assert (colour.jitter_probability, colour.grey_probability, colour.blur_probability) == (0.8, 0.2, 0.5)
    assert list(config.data.views.crop_scale) == [0.5, 1.0]


@pytest.mark.parametrize(("name", "epochs"), [("coco_pretrain", 800), ("in1k_pretrain", 200)])
def test_pretraining_is_the_papers_setting(name: str, epochs: int, tmp_path: Path) -> None:
    """Section 5.1, Table 4's bold rows, and SimSiam's augmentation and sizes."""
    config = composed(tmp_path, f"experiment={name}")
    assert (config.data.batch_size, config.trainer.max_epochs, config.data.views.size) == (512, epochs, 224)
    assert (config.model.encoder.name, config.model.encoder.weights) == ("resnet50", None)
    model = config.model
    assert (model.num_categories, model.hidden_channels, model.image_channels, model.image_bottleneck) == (
        512,
        512,
        2048,
        512,
    )
    assert (model.grid_size, model.grid_position, model.global_region) == (7, "after_predictor", "image")
    assert dict(config.task.loss_weights) == {"image": 1.0, "dense": 1.0, "region": 0.1}
    assert (config.task.region_start, config.task.criterion.distance, config.task.schedule) == (
        0.5,
        "cross_entropy",
        "cosine",
    )
    assert not config.task.constant_predictor_lr
    optimizer = config.task.optimizer
    found = (optimizer.base_lr, optimizer.batch_size, optimizer.momentum, optimizer.weight_decay)
    assert found == (0.05, 512, 0.9, 1e-4)
    colour = config.data.views.colour
    assert (colour.brightness, colour.contrast, colour.saturation, colour.hue) == (0.4, 0.4, 0.4, 0.1)
    assert (colour.jitter_probability, colour.grey_probability, colour.blur_probability) == (0.8, 0.2, 0.5)
    assert list(colour.blur_sigma) == [0.1, 2.0]
    assert list(config.data.views.scale) == [0.2, 1.0]
    assert config.data.views.flip_probability == 0.5
