"""Probes of frozen features as a run of their own: three rows, no training, and those of pre-training again."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from src.assembly.train import train
from src.errors import plain_errors
from tests.composing import composed
from tests.refusals import refusal

ROWS = ["after training", "after training, k-NN", "after training, k-means"]
# One small setting for both experiments, so that the same cells of the same images are probed.
SMALL = (
    *("data.num_workers=0", "protocol.resamples=10", "trainer.accelerator=cpu", "callbacks.progress=null"),
    *("model/encoder=resnet18_half", "protocol.side=32", "protocol.crop=true", "task.linear_probe.max_iterations=20"),
)


def run(output: Path, *overrides: str) -> dict[str, Any]:
    with plain_errors():
        final = train(composed(output, *overrides))
    written: dict[str, Any] = json.loads((output / "scores.json").read_text())
    assert written["scores"]["after training"]["mIoU"] == pytest.approx(final)
    return written


def probed(output: Path, root: Path, *overrides: str) -> dict[str, Any]:
    given = [f"data.root={root}", "data.batch_size=2", *SMALL, *overrides]
    return run(output, "experiment=dense_probe", *given)


def test_three_rows_without_a_step(labelled_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = probed(tmp_path, labelled_root)
    assert list(written["scores"]) == ROWS
    assert all("mIoU" in written["intervals"][row] for row in ROWS)
    assert written["cost"]["steps"] == written["cost"]["train_images"] == 0
    assert written["protocol"]["k-NN"] == "the 30 most similar labelled cells, temperature 0.02"
    assert (tmp_path / "pictures" / "linear_probe_step000000.png").is_file()
    assert not (tmp_path / "checkpoints").exists()
    said = capsys.readouterr().out
    assert "What the run will take" not in said
    assert "no checkpoint was written" in said


def test_a_split_without_labels_is_left_out_before_anything_is_scored(labelled_root: Path, tmp_path: Path) -> None:
    images = labelled_root / "images"
    (images / "extra").mkdir()
    shutil.copy(images / "train" / "scene0.png", images / "extra" / "more.png")
    with pytest.warns(UserWarning, match="1 of 7 training images, all of extra, have no labels"):
        more = probed(tmp_path / "more", labelled_root, "data.train_splits=[train,extra]")
    assert more["scores"] == probed(tmp_path / "plain", labelled_root)["scores"]
    assert "fitted on 6 images" in more["protocol"]["probes"]


def test_its_probes_are_those_of_pretraining(labelled_root: Path, tmp_path: Path) -> None:
    """A checkpoint of pre-training has the scores that its run ended with."""
    heads = ["model.hidden_channels=8", "model.image_channels=8", "model.image_bottleneck=4", "model.num_categories=9"]
    given = ["data=labelled_folder", f"data.root={labelled_root}", "data/views=two_crops", "data.batch_size=2", *SMALL]
    short = ["data.views.size=32", "trainer.max_epochs=1", "score_before=false", "estimate_steps=0"]
    pretrained = run(tmp_path / "a", "experiment=demo_pretrain", *given, *heads, *short)["scores"]
    file = tmp_path / "a" / "checkpoints" / "last.ckpt"
    again = probed(tmp_path / "b", labelled_root, f"model.encoder.weights={file}")["scores"]
    for row in ("after training", "after training, k-means"):
        assert again[row] == pretrained[row]


def test_another_start_has_other_scores_and_reports_its_file(
    labelled_root: Path, resnet18_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scratch = probed(tmp_path / "a", labelled_root, "model/encoder=resnet18")
    started = probed(tmp_path / "b", labelled_root, "model/encoder=resnet18", f"model.encoder.weights={resnet18_file}")
    assert f"120 of 122 entries loaded from {resnet18_file}" in capsys.readouterr().out
    assert started["scores"] != scratch["scores"]


def test_mirror_images_are_averaged(labelled_root: Path, tmp_path: Path) -> None:
    once, twice = (probed(tmp_path / flip, labelled_root, f"protocol.flip={flip}") for flip in ("false", "true"))
    assert [once["scores"][row] != twice["scores"][row] for row in ROWS] == [True] * 3


def test_a_neck_is_fitted_before(labelled_root: Path, tmp_path: Path) -> None:
    neck = ["model/neck=principal_components", "model.neck.channels=8"]
    assert list(probed(tmp_path, labelled_root, *neck)["scores"]) == ROWS


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("task.neighbours.number=0", "neighbours.number is 0: expected a whole number from 1"),
        ("task.neighbours.temperature=0", "neighbours.temperature is 0"),
        ("task.neighbours=5", "task.neighbours is 5"),
        ("task.linear_probe.l2=[]", "linear_probe.l2 is []"),
        ("model.encoder.align_corners=true", "model.encoder.align_corners is true"),
        ("probe=none", "set probe=own_labels"),
        ("probe=unscored", "a dense probe needs labels"),
    ],
)
def test_values_are_checked(override: str, expected: str, labelled_root: Path, tmp_path: Path) -> None:
    refusal(lambda: probed(tmp_path, labelled_root, override), expected)


def test_training_images_without_labels_are_refused(labelled_root: Path, tmp_path: Path) -> None:
    (labelled_root / "labels" / "train" / "scene2.png").unlink()
    refusal(lambda: probed(tmp_path, labelled_root), "1 of 6 training images have no labels")
