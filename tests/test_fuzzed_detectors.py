"""Any value of a detector's config, far out of its bounds: a run goes through, or ends in one line of ours."""

from collections.abc import Callable
from pathlib import Path

import pytest

from src.assembly.train import train
from tests.composing import composed
from tests.detecting import coco_tree, faster_overrides, mask_overrides, voc_tree
from tests.fuzzing import overrides, runs_or_is_refused

BASES: dict[str, tuple[Callable[[Path], Path], Callable[[Path], list[str]]]] = {
    "faster_rcnn": (voc_tree, faster_overrides),
    "mask_rcnn": (coco_tree, mask_overrides),
}
SHARED = {
    "data.views": [],
    "data.views.sides": ["[32,48]"],
    "data.views.longest": ["40"],
    "data.views.flip_probability": ["1"],
    "data.batch_size": ["1"],
    "protocol.side": ["48"],
    "protocol.longest": ["64"],
    "protocol.resamples": ["2"],
    "model.encoder": [],
    "model.encoder.frozen": ["true"],
    "model.proposals": [],
    "model.proposals.anchor_sizes": [],
    "model.proposals.anchor_ratios": ["[1.0]"],
    "model.proposals.kept_train": ["1"],
    "model.proposals.train": ["1"],
    "model.proposals.nms_iou": ["1"],
    "model.proposals.foreground_iou": ["0.3"],
    "model.proposals.samples": ["1"],
    "model.proposals.foreground_share": ["1"],
    "model.regions": [],
    "model.regions.samples": ["1"],
    "model.regions.sampling": ["0"],
    "model.regions.min_score": ["0"],
    "model.regions.detections": ["1"],
    "task.network": [],
    "task.schedule": ["null"],
    "schedule.at": ["[]", "[0.5]"],
    "schedule.factor": ["1"],
    "schedule.warmup_steps": ["0"],
    "trainer.precision": ["bf16-mixed", "64-true"],
    "callbacks.precise_bn": ["null"],
    "callbacks.precise_bn.num_batches": ["1"],
}
KEYS = {
    "faster_rcnn": {
        **SHARED,
        "data.classes": ["[dog,cat]"],
        "data.train_splits": ["[val]"],
        "data.val_split": ["train"],
        "protocol.metric": ["coco", "voc2012"],
        "model.pooled": ["2"],
    },
    "mask_rcnn": {
        "data.train_annotations": [],
        "data.val_images": [],
        "protocol.metric": ["voc2012"],
        "model.channels": ["8"],
        "model.box_features": ["1"],
    },
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    root = tmp_path_factory.mktemp("data")
    small = ["score_before=false", "callbacks.progress=null", "protocol.resamples=0"]
    return {name: [*values(tree(root / name, 4, 2)), *small] for name, (tree, values) in BASES.items()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("base", BASES)
def test_without_a_wrong_value_it_runs(base: str, bases: dict[str, list[str]], tmp_path: Path) -> None:
    assert 0 <= train(composed(tmp_path, *bases[base])) <= 100


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("base", "override"), [(base, override) for base, keys in KEYS.items() for override in overrides(keys, drawn=1)]
)
def test_a_value_runs_or_is_refused_in_one_line(
    base: str, override: str, bases: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs_or_is_refused(tmp_path / "run", bases[base], override)
