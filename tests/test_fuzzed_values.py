"""Any value of the config, of any type and far out of its bounds: a run goes through, or ends in one line of ours.

The wrong values of each key are drawn with a fixed seed from one pool; what is right for it stands beside it.
"""

from pathlib import Path

import pytest

from src.assembly.train import train
from tests.composing import composed
from tests.fuzzing import overrides, runs_or_is_refused

SMALL = (
    "estimate_steps=0",
    "score_before=false",
    "protocol.resamples=0",
    "protocol.side=16",
    "data.train_scenes=4",
    "data.val_scenes=2",
    "data.scene_size=16",
    "data.batch_size=2",
    "data.num_workers=0",
    "data.views.size=16",
    "model.encoder.stages=1",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=1",
    "callbacks.progress=null",
    "trainer.enable_model_summary=false",
)
NARROW = ("model.neck.channels=8", "model.num_aux_categories=9")
BASES = {
    "segment": ("experiment=demo", "optimizer=sgd", *SMALL, *NARROW, "task.region_start=0.0", "references=none"),
    "features": (
        *("experiment=demo", *SMALL, *NARROW, "task.region_start=null", "references=all"),
        *("data.train_scenes=8", "reference_clusters=16"),  # more rows than principal components and clusters
    ),
    "picie": ("experiment=demo", *SMALL, *NARROW, "task=picie", "references=none"),
    "iic": ("experiment=demo", *SMALL, *NARROW, "task=iic", "references=none"),
    "semantic": (
        *("experiment=small_fcn", "data=demo_scenes", *SMALL, "data.views.side=own", "model.encoder.stages=2"),
        *("model.channels=8", "model.aux_channels=8", "trainer.max_steps=-1"),
    ),
    "pretrain": (
        *("experiment=demo_pretrain", *SMALL, "task.region_start=0.0", "model.grid_size=2", "model.num_categories=9"),
        *("model.hidden_channels=8", "model.image_channels=8", "model.image_bottleneck=4"),
        "task.linear_probe.max_iterations=10",
    ),
    "dense_probe": (
        *("experiment=dense_probe", "data=scenes", *SMALL, "model/encoder=resnet18_half"),
        "task.linear_probe.max_iterations=10",
    ),
}
# The keys of each base, with values that are right.
KEYS = {
    "segment": {
        "seed": ["7", "4294967295"],
        "ckpt_path": [],
        "weights": [],
        "estimate_steps": ["1"],
        "score_before": ["true"],
        "paths.output": [],
        "data.batch_size": ["4"],
        "data.num_workers": [],
        "data.seed": ["5"],
        "data.on_corrupt": ["skip"],
        "data.augment_on": ["device"],
        "data.train_scenes": ["5"],
        "data.scene_size": ["40"],
        "data.views": [],
        "data.views.size": ["33"],
        "data.views.crop_scale": ["[0.5,0.5]"],
        "data.views.flip_probability": ["1"],
        "data.views.colour": [],
        "data.views.colour.brightness": ["2"],
        "data.views.colour.hue": ["0.5"],
        "data.views.colour.blur_probability": ["1"],
        "data.views.colour.blur_sigma": ["[0.1,30]"],
        "protocol.side": ["own", "17"],
        "protocol.resamples": ["2"],
        "protocol.flip": ["true"],
        "protocol.head": ["aux"],
        "protocol.matching": ["majority"],
        "model.num_categories": ["8", "300"],
        "model.encoder": [],
        "model.encoder.output_stride": ["4"],
        "model.encoder.weights": [],
        "model.neck": [],
        "model.neck.channels": ["1"],
        "model.grid_size": ["1", "40"],
        "model.memory_format": ["contiguous"],
        "model.hidden_channels": ["5"],
        "task.region_start": ["0.9"],
        "task.criterion.region_temperature": ["10"],
        "task.criterion.region_normalise": ["false"],
        "task.criterion.stop_gradient": ["false"],
        "task.criterion.distance": ["cosine"],
        "task.criterion.seg_weighting": ["none"],
        "task.loss_weights.aux": ["0", "1e3"],
        "task.loss_weights": [],
        "task.optimizer": [],
        "optimizer.base_lr": ["0", "1e4"],
        "optimizer.momentum": ["0"],
        "optimizer.weight_decay": ["10"],
        "trainer.max_epochs": ["2"],
        "trainer.devices": ["1"],
        "trainer.accelerator": ["gpu"],
        "trainer.precision": ["bf16-mixed"],
        "trainer.log_every_n_steps": ["1"],
        "trainer.check_val_every_n_epoch": ["2"],
        "trainer.deterministic": ["false"],
        "trainer.plugins": [],
        "+trainer.strategy": ["ddp"],
        "+trainer.limit_val_batches": ["0.5"],
        "+trainer.val_check_interval": ["0.5"],
        "+trainer.gradient_clip_val": ["0.5"],
        "trainer.max_steps": ["1"],
        "callbacks.pictures.num_images": ["1"],
        "callbacks.checkpoint.every_n_steps": ["1"],
        "callbacks.collapse.min_images": ["1"],
        "callbacks.collapse.min_spread": ["0"],
        "callbacks.collapse.stop": ["true"],
        "callbacks.checkpoint": [],
        "logger.csv.save_dir": [],
        "logger.csv.name": ["run"],
    },
    "features": {
        "fit_images": ["1"],
        "reference_clusters": ["8"],
    },
    "picie": {
        "task.balance": ["none"],
        "task.clustering.share": ["1"],
        "task.clustering.pixels_per_image": ["10"],
        "task.clustering.scored_images": ["1"],
        "task.clustering.backend": ["faiss"],
        "task.network": [],
        "model.num_aux_categories": ["8"],
        "task.optimizer.lr": ["1e-3"],
    },
    "iic": {"task.radius": ["1"], "task.loss_weights.main": ["0.3"]},
    "semantic": {
        "data.views.side": ["20", "own"],
        "data.views.scale": ["[0.5,0.5]"],
        "data.views.most_of_one_class": ["1"],
        "data.views.colour": [],
        "data.views.colour.probability": ["1"],
        "protocol.window": ["8"],
        "protocol.stride": ["0"],
        "model.encoder.align_corners": ["true"],
        "model.encoder.frozen_stages": ["1", "2"],
        "model.encoder.output_stride": ["8"],
        "model.num_convs": ["1"],
        "model.concat_input": ["false"],
        "model.dropout": ["0"],
        "model.channels": ["3"],
        "task.loss_weights.aux": ["0"],
        "task.loss_weights": [],
        "task.schedule": ["null"],
        "task.network": [],
        "schedule.power": ["1"],
        "schedule.min_lr": ["0"],
    },
    "pretrain": {
        "data.views.scale": ["[0.9,1]"],
        "data.views.ratio": ["[1,1]"],
        "data.views.min_overlap": ["0.9"],
        "data.views.max_redraws": ["0"],
        "model.image_channels": ["3"],
        "model.global_region": ["intersection"],
        "task.schedule": ["constant"],
        "task.constant_predictor_lr": ["true"],
        "task.linear_probe": [],
        "task.linear_probe.l2": ["[0]"],
        "task.linear_probe.max_iterations": ["1"],
        "task.linear_probe.cells_per_image": ["1"],
        "task.linear_probe.seed": ["3"],
    },
    "dense_probe": {
        "model": [],
        "model.encoder.weights": [],
        "task.network": [],
        "task.neighbours": [],
        "task.neighbours.number": ["1", "100000"],
        "task.neighbours.temperature": ["5"],
        "trainer.max_epochs": ["3"],
        "+trainer.limit_train_batches": ["0"],
    },
}


def cases(drawn: int) -> list[tuple[str, str]]:
    """Base and override: of each key what is right for it, and some of the pool, alike in every run."""
    return [(base, override) for base, keys in KEYS.items() for override in overrides(keys, drawn)]


def test_there_are_enough_of_them() -> None:
    chosen = cases(drawn=1)
    assert len({override.partition("=")[0] for _, override in chosen}) > 60
    assert len(chosen) >= 150


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("base", BASES)
def test_without_a_wrong_value_it_runs(base: str, tmp_path: Path) -> None:
    """Otherwise every value would seem to be refused."""
    assert 0 <= train(composed(tmp_path, *BASES[base])) <= 100


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("base", "override"), cases(drawn=1))
def test_a_value_runs_or_is_refused_in_one_line(
    base: str, override: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where relative paths such as paths.output=abc go
    runs_or_is_refused(tmp_path / "run", BASES[base], override)
