"""A run of supervised segmentation as users go on with it: prediction, evaluation, export, another length."""

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from src.assembly.evaluate import evaluate
from src.assembly.export import export
from src.assembly.train import train
from src.prediction.loading import load
from src.training.continuation import Start, go_on
from tests.composing import CONF, composed
from tests.factories import noise_image
from tests.refusals import refusal

SMALL = ("experiment=small_fcn", "debug=tiny", "trainer.fast_dev_run=false", "trainer.max_steps=2")


@pytest.fixture
def checkpoint(labelled_root: Path, tmp_path: Path) -> Path:
    small = [*SMALL, f"data.root={labelled_root}", "model.channels=8", "model.aux_channels=4", "score_before=false"]
    train(composed(tmp_path / "run", *small, "model.encoder.stages=2", "model.encoder.align_corners=true"))
    return tmp_path / "run" / "checkpoints" / "last.ckpt"


def test_a_finished_run_is_used(checkpoint: Path, labelled_root: Path, tmp_path: Path) -> None:
    segmenter = load(checkpoint)
    assert segmenter.names == ["sky", "ground", "object"]
    assert segmenter.note == "classes learned from labels"
    assert segmenter.predict(noise_image(70, 50)).shape == (50, 70)
    assert segmenter.predict(noise_image(70, 50), window=32, side="own").shape == (50, 70)

    whole = composed(tmp_path / "evaluated", f"ckpt_path={checkpoint}", "protocol.resamples=0", name="evaluate")
    written = json.loads((checkpoint.parents[1] / "scores.json").read_text())
    assert evaluate(whole) == pytest.approx(written["scores"]["after training"]["mIoU"])
    assert written["protocol"]["matching"] == "none, the network predicts classes"

    classes = json.loads((labelled_root / "classes.json").read_text())
    classes[1]["name"] = "floor"
    (labelled_root / "classes.json").write_text(json.dumps(classes))
    again = composed(tmp_path / "again", f"ckpt_path={checkpoint}", name="evaluate")
    refusal(lambda: evaluate(again), "class 1 is 'ground' there and 'floor' here", "the same classes in the same order")


@pytest.mark.slow
def test_its_graph_is_exported_with_aligned_corners(checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        export(compose("export", [f"ckpt_path={checkpoint}", f"output={tmp_path / 'net.onnx'}"]))
    record = json.loads((tmp_path / "net.onnx.json").read_text())
    assert record["classes"]["names"] == ["sky", "ground", "object"]
    assert record["classes"]["note"] == "learned from labels"
    assert record["align_corners"] is True


def test_another_length_is_refused_because_of_the_schedule() -> None:
    config = {"task": {"schedule": {"_target_": "src.schedules.poly"}}, "trainer": {"max_epochs": -1, "max_steps": 40}}
    start = Start(Path("last.ckpt"), 20, 3, config, [], {})
    longer = config | {"trainer": {"max_epochs": -1, "max_steps": 80}}
    refusal(
        lambda: go_on(start, longer), "trainer.max_steps=80 (was 40), which the schedule of the learning rate follows"
    )
    go_on(start, config)
