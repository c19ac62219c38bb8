"""Python instead of the command line: a training run in three lines, and the network that it gives."""

from pathlib import Path

import numpy as np
import pytest
import torch

from src.api import Trained, load, train
from src.assembly.evaluate import evaluate
from src.checkpoints.reading import read_checkpoint
from tests.composing import TINY_EPOCHS, composed
from tests.factories import noise_image
from tests.refusals import refusal


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    values = (*TINY_EPOCHS, "trainer.max_epochs=1", "protocol.resamples=10")
    return train(*values, output=tmp_path_factory.mktemp("run") / "größe [1]")


def test_a_run_has_a_folder_and_a_score(run: Trained) -> None:
    assert (run.folder / "scores.json").is_file()
    assert 0 <= run.score <= 100


def test_the_network_of_a_run(run: Trained) -> None:
    segmenter = run.load()
    assert segmenter.recommended_side == 64
    classes = {"sky", "grass", "sand", "water", "brick", "ball", "crate", "cone"}
    assert set(segmenter.names) == classes  # the scenes have labels, which named the clusters
    assert segmenter.predict(noise_image(40, 30)).shape == (30, 40)


def test_no_gradients_unless_asked_for(run: Trained) -> None:
    path = run.folder / "checkpoints" / "last.ckpt"
    assert not any(parameter.requires_grad for parameter in load(path).network.parameters())
    assert not load(path).network(torch.rand(1, 3, 32, 32)).requires_grad
    trainable = load(path, gradients=True).network
    assert trainable(torch.rand(1, 3, 32, 32)).requires_grad
    assert not trainable.training


@pytest.mark.parametrize(
    "change", [{"head": "aux"}, {"class_of_cluster": [0]}, {"classes": [{"name": "${x}", "kind": "stuff"}]}]
)
def test_a_changed_matching_is_refused(run: Trained, tmp_path: Path, change: dict[str, object]) -> None:
    checkpoint = read_checkpoint(run.folder / "checkpoints" / "last.ckpt")
    checkpoint["matched"] |= change
    torch.save(checkpoint, tmp_path / "last.ckpt")
    refusal(lambda: load(tmp_path / "last.ckpt"))


def test_a_checkpoint_of_an_earlier_version_has_no_names(run: Trained, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(run.folder / "checkpoints" / "last.ckpt")
    del checkpoint["matched"]
    torch.save(checkpoint, tmp_path / "last.ckpt")
    segmenter = load(tmp_path / "last.ckpt")
    assert segmenter.names[0] == "cluster 0"
    assert np.array_equal(segmenter.predict(noise_image(40, 30)), run.load().predict(noise_image(40, 30)))


def test_names_of_an_evaluation(run: Trained, tmp_path: Path) -> None:
    """A checkpoint without names gets them from the scores of `src.evaluate`, if these are about this checkpoint."""
    checkpoint = read_checkpoint(run.folder / "checkpoints" / "last.ckpt")
    checkpoint["matched"] = None
    path = tmp_path / "unnamed.ckpt"
    torch.save(checkpoint, path)
    assert load(path).names[0] == "cluster 0"
    evaluate(composed(tmp_path / "scored", f"ckpt_path={path}", "protocol.resamples=0", name="evaluate"))
    scores = tmp_path / "scored" / "scores.json"
    assert load(path, scores=scores).names == run.load().names
    refusal(lambda: load(run.folder / "checkpoints" / "last.ckpt", scores=scores), "about another checkpoint")
    refusal(lambda: load(path, scores=run.folder / "scores.json"), "can't read", "expected the scores.json of")
    refusal(lambda: load(path, scores=tmp_path / "absent.json"), "can't read")


def test_what_is_no_checkpoint(run: Trained) -> None:
    refusal(lambda: load(None), "expected the path of a file")
    refusal(lambda: load(run.folder), "is a folder", "checkpoints/last.ckpt")
    assert repr(run.load()).startswith("Segmenter(main: 8 clusters, aux: ")


def test_mistakes_are_explained(tmp_path: Path) -> None:
    refusal(lambda: train("experiment=demos", output=tmp_path), "there is no experiment=demos", "demo")
    refusal(lambda: train("experiment=demo", "modle.grid_size=7", output=tmp_path), "did you mean model.grid_size")
    refusal(lambda: train("experiment=demo", "seed=-1", output=tmp_path), "seed")
