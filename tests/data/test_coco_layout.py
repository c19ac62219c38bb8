"""Real photographs in COCO's exact layout, trained on and scored by the paper's experiment with only sizes changed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from src.assembly.evaluate import evaluate
from src.assembly.train import train
from tests.composing import composed


@pytest.fixture
def coco128_as_coco(shared_data: Callable[[str], Path], tmp_path: Path) -> Path:
    """All 168 images of coco128 as COCO's and COCO-Stuff's archives unpack, linked, not copied."""
    source, root = shared_data("coco128"), tmp_path / "coco"
    for split, parts in (("train", ("train", "train_extra")), ("val", ("val",))):
        images, labels = root / f"{split}2017", root / "stuffthingmaps" / f"{split}2017"
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for part in parts:
            for path in (source / "images" / part).glob("*.jpg"):
                (images / path.name).symlink_to(path)
        for path in (source / "labels_fine" / split).glob("*.png"):
            (labels / path.name).symlink_to(path)
    return root


@pytest.mark.parametrize(
    ("data", "images", "steps"),
    [([], 15, 6), (["data.train_list=all", "data.val_list=all"], 40, 16)],
    ids=["curated", "all"],
)
def test_coco_seg_trains_and_scores(
    data: list[str], images: int, steps: int, coco128_as_coco: Path, tmp_path: Path
) -> None:
    """48 of the 128 training images and 15 of the 40 others are in the curated lists. Weights are not downloaded."""
    sizes = ["data.views.size=48", "data.batch_size=8", "data.num_workers=0", "trainer.max_epochs=1"]
    choices = [
        "model.encoder.weights=null",
        "trainer.accelerator=cpu",
        "trainer.log_every_n_steps=1",
        "estimate_steps=0",
        "protocol.resamples=10",
        *data,
    ]
    train(composed(tmp_path, "experiment=coco_seg", f"data.root={coco128_as_coco}", *sizes, *choices))
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["protocol"]["images"] == images
    assert written["protocol"]["preparation"] == "shorter side to 48, centre square, labels alike (nearest)"
    assert written["cost"]["steps"] == steps
    scores = written["scores"]["after training"]
    assert 0 < scores["mIoU"] < 100
    assert sum(name.startswith("IoU/") for name in scores) == 27
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    asked = [f"ckpt_path={checkpoint}", "protocol=release", "protocol.resamples=0"]
    assert evaluate(composed(tmp_path / "again", *asked, name="evaluate")) == pytest.approx(scores["mIoU"])
    again = json.loads((tmp_path / "again" / "scores.json").read_text())["scores"]["checkpoint"]
    assert {"release_block_mIoU_thing", "release_block_mIoU_stuff"} <= set(again)
