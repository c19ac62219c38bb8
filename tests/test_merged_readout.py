"""Merged categories after a training: in its checkpoint, in predictions and scores, and with older checkpoints."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from src.assembly.evaluate import evaluate
from src.assembly.predict import predict
from src.assembly.train import train
from src.prediction.loading import load
from tests.composing import CONF, TINY_EPOCHS, composed
from tests.factories import noise_image
from tests.refusals import refusal

SHORT = (*TINY_EPOCHS, "references=none", "score_before=false", "model.num_aux_categories=16")
METHODS = {"densesiam": (), "picie": ("+ablation=picie_aux",)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of a run of each method with an over-clustering, trained for one epoch with `protocol.head=main`."""
    folders = {method: tmp_path_factory.mktemp(method) for method in METHODS}
    for method, folder in folders.items():
        train(composed(folder, *SHORT, *METHODS[method], "trainer.max_epochs=1"))
    return folders


def changed(folder: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a run's checkpoint after a change of its content."""
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt")
    change(checkpoint)
    torch.save(checkpoint, tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def made_older(checkpoint: dict[str, Any]) -> None:
    """What a version without merged categories wrote: centroids of the scored head alone, and no groups."""
    state = checkpoint["state_dict"]
    dropped = [name for name in state if name.startswith(("merging.", "scored.aux."))]
    renamed = [name for name in state if name.startswith("scored.main.")]
    checkpoint["state_dict"] = {
        name.replace("scored.main.", "scored."): value for name, value in state.items() if name not in dropped
    }
    assert dropped
    assert bool(renamed) == ("centroids.main.points" in state)
    del checkpoint["config"]["protocol"]["groups"]


def rows(folder: Path, checkpoint: Path, *overrides: str) -> dict[str, float]:
    """The mIoU of each row of an evaluation, in a new folder below this one."""
    output = folder / f"evaluated{len(list(folder.glob('evaluated*')))}"
    evaluate(composed(output, f"ckpt_path={checkpoint}", "protocol.resamples=0", *overrides, name="evaluate"))
    scores = json.loads((output / "scores.json").read_text())["scores"]
    return {row: values["mIoU"] for row, values in scores.items()}


@pytest.mark.parametrize("method", METHODS)
def test_the_checkpoint_has_the_merged_categories_beside_the_default_head(method: str, runs: dict[str, Path]) -> None:
    model = load(runs[method] / "checkpoints" / "last.ckpt")
    assert model.heads == ("main", "aux", "merged")
    assert model.network.heads["merged"][0] is model.network.heads["aux"]
    features = model.network.features(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8))
    merged, groups = model.network.heads["merged"][1], model.network.heads["merged"][1].groups[0]
    assert groups.unique().tolist() == list(range(8))
    probabilities = model.network.logits(features, "aux").softmax(1)
    summed = torch.stack([probabilities[:, groups == group].sum(1) for group in range(8)], dim=1)
    torch.testing.assert_close(model.network.logits(features, "merged").exp(), summed)
    assert bool(merged.current)


@pytest.mark.parametrize("method", METHODS)
def test_every_head_of_a_checkpoint_can_be_scored(method: str, runs: dict[str, Path], tmp_path: Path) -> None:
    checkpoint = runs[method] / "checkpoints" / "last.ckpt"
    trained = json.loads((runs[method] / "scores.json").read_text())["scores"]
    assert list(trained) == ["after training", "after training, merged"]
    first, second = (row["mIoU"] for row in trained.values())
    assert rows(tmp_path, checkpoint) == {"checkpoint": first, "checkpoint, merged": second}
    assert rows(tmp_path, checkpoint, "protocol.head=merged") == {"checkpoint": second}
    found = rows(tmp_path, checkpoint, "protocol.head=aux", "protocol.matching=majority")
    assert list(found) == ["checkpoint", "checkpoint, merged"]
    assert found["checkpoint"] > 0


def test_predict_maps_the_merged_categories_by_the_names_of_an_evaluation(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    checkpoint, photos = runs["densesiam"] / "checkpoints" / "last.ckpt", tmp_path / "photos"
    photos.mkdir()
    noise_image(48, 40, 1).save(photos / "a.png")
    rows(tmp_path, checkpoint, "protocol.head=merged")
    scores = tmp_path / "evaluated0" / "scores.json"
    asked = [f"ckpt_path={checkpoint}", f"input={photos}", f"output={tmp_path / 'out'}", "head=merged"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("predict", [*asked, f"scores={scores}", "probabilities=true", "num_threads=1"])
    assert predict(config) == 0
    with np.load(tmp_path / "out" / "arrays" / "a.npz") as arrays:
        assert arrays["probabilities"].astype(float).sum(0) == pytest.approx(1, abs=0.01)
        names = set(arrays["names"].tolist())
    classes = {one["name"] for one in json.loads(scores.read_text())["matched"]["classes"]}
    assert names == classes


def test_the_head_of_the_protocol_is_the_default(runs: dict[str, Path], tmp_path: Path) -> None:
    def scored_merged(checkpoint: dict[str, Any]) -> None:
        checkpoint["config"]["protocol"]["head"] = "merged"
        checkpoint["matched"]["head"] = "merged"

    model = load(changed(runs["densesiam"], tmp_path, scored_merged))
    assert model.heads == ("merged", "main", "aux")
    assert "named by labels" in model.note


@pytest.mark.parametrize("group", [-1, 8, 2**40, -(2**63), 1e30])
def test_groups_that_do_not_exist_are_refused(group: float, runs: dict[str, Path], tmp_path: Path) -> None:
    def strange(checkpoint: dict[str, Any]) -> None:
        groups = checkpoint["state_dict"]["merging.groups"]
        checkpoint["state_dict"]["merging.groups"] = groups.to(torch.tensor(group).dtype)
        checkpoint["state_dict"]["merging.groups"][0, 3] = group

    path = changed(runs["densesiam"], tmp_path, strange)
    refusal(lambda: load(path), "merging.groups", "expected groups from 0 to 7")
    if group == -1:
        refusal(lambda: rows(tmp_path, path), "merging.groups has numbers from -1 to 7")
        refusal(lambda: resumed(tmp_path, path, "densesiam"), "merging.groups has numbers from -1 to 7")


def resumed(output: Path, checkpoint: Path, method: str) -> None:
    train(composed(output, *SHORT, *METHODS[method], "trainer.max_epochs=2", f"ckpt_path={checkpoint}"))


@pytest.mark.parametrize("method", METHODS)
def test_older_checkpoints_have_no_merged_categories_until_they_are_scored(
    method: str, runs: dict[str, Path], tmp_path: Path
) -> None:
    older, newer = changed(runs[method], tmp_path, made_older), runs[method] / "checkpoints" / "last.ckpt"
    model, image = load(older), noise_image(48, 40, 1)
    assert model.heads == {"densesiam": ("main", "aux"), "picie": ("main",)}[method]
    assert np.array_equal(model.predict(image), load(newer).predict(image))
    assert rows(tmp_path, older, "protocol.head=merged") == rows(tmp_path, newer, "protocol.head=merged")


def test_a_run_that_an_older_version_began_is_resumed(runs: dict[str, Path], tmp_path: Path) -> None:
    for method in METHODS:
        resumed(tmp_path, changed(runs[method], tmp_path, made_older), method)
        assert load(tmp_path / "checkpoints" / "last.ckpt").heads == ("main", "aux", "merged")
        (tmp_path / "checkpoints" / "last.ckpt").unlink()
