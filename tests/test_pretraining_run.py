"""A pre-training run from end to end: its scores, and what can be done with its checkpoint."""

import json
from pathlib import Path

import pytest
import torch

from src.assembly.evaluate import evaluate
from src.assembly.sweeps import check_sweep
from src.assembly.train import train
from src.prediction.loading import load
from tests.composing import TINY, composed
from tests.exporting import exported
from tests.refusals import refusal

PRETRAINING = (*TINY, "experiment=demo_pretrain")
EPOCH = (*PRETRAINING, "trainer.fast_dev_run=false", "trainer.max_epochs=1")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of one epoch leaves, probed on its own labels."""
    output = tmp_path_factory.mktemp("run")
    train(composed(output, *EPOCH))
    return output


def test_both_probes_are_scored_with_what_they_were_fitted_on(run: Path) -> None:
    written = json.loads((run / "scores.json").read_text())
    labels = ["before training", "before training, k-means", "after training", "after training, k-means"]
    assert list(written["scores"]) == labels == list(written["intervals"])
    assert written["protocol"]["probes"] == "linear (not matched) and k-means, fitted on 8 images, generated scenes"
    assert written["cost"]["peak_memory"] > 1e8
    logged = (run / "csv" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"linear_probe/mIoU", "kmeans_probe/mIoU", "views/redrawn", "views/invalid"} <= set(logged)


def test_scoring_beforehand_changes_nothing(run: Path, tmp_path: Path) -> None:
    train(composed(tmp_path, *EPOCH, "score_before=false"))
    with_it, without = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for folder in (run, tmp_path)
    )
    assert all(torch.equal(value, without[name]) for name, value in with_it.items())


def test_its_checkpoint_scores_the_same_again(run: Path, tmp_path: Path) -> None:
    found = evaluate(composed(tmp_path, f"ckpt_path={run}/checkpoints/last.ckpt", name="evaluate"))
    before = json.loads((run / "scores.json").read_text())["scores"]
    after = json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert found == pytest.approx(before["after training"]["mIoU"])
    assert after["checkpoint, k-means"] == pytest.approx(before["after training, k-means"], nan_ok=True)


def test_it_can_be_probed_on_another_set(run: Path, labelled_root: Path, tmp_path: Path) -> None:
    probe = ["probe=labelled_folder", f"probe.root={labelled_root}"]
    evaluate(composed(tmp_path, f"ckpt_path={run}/checkpoints/last.ckpt", *probe, name="evaluate"))
    protocol = json.loads((tmp_path / "scores.json").read_text())["protocol"]
    assert protocol["probes"] == f"linear (not matched) and k-means, fitted on 6 images, train of {labelled_root}"


def test_other_data_without_a_probe_is_refused(run: Path, labelled_root: Path, tmp_path: Path) -> None:
    data = ["data=labelled_folder", f"data.root={labelled_root}"]
    config = composed(tmp_path, f"ckpt_path={run}/checkpoints/last.ckpt", *data, name="evaluate")
    refusal(lambda: evaluate(config), "scored on its probe set, not on data", "probe=own_labels")


def test_it_is_no_segmentation(run: Path) -> None:
    checkpoint = run / "checkpoints" / "last.ckpt"
    refusal(lambda: load(checkpoint), "pre-training", "src.export ckpt_path=")


@pytest.mark.parametrize("name", ["network.onnx", "network.pt2"])
def test_only_its_encoder_can_be_exported(name: str, run: Path, tmp_path: Path) -> None:
    output = tmp_path / name
    checkpoint = run / "checkpoints" / "last.ckpt"
    refusal(
        lambda: exported(checkpoint, output),
        "a pre-training run has learned no segmentation",
        "format=torchvision, timm",
    )
    assert list(tmp_path.iterdir()) == []


def test_its_encoder_starts_a_segmentation(run: Path, tmp_path: Path) -> None:
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    prefix = "network.encoder.backbone."
    torch.save({name.removeprefix(prefix): x for name, x in state.items() if prefix in name}, tmp_path / "encoder.pth")
    train(composed(tmp_path, *TINY, "trainer.fast_dev_run=1", f"model.encoder.weights={tmp_path / 'encoder.pth'}"))
    weights = json.loads((tmp_path / "scores.json").read_text())["origin"]["encoder_weights"]
    assert weights["path"] == str(tmp_path / "encoder.pth")


def test_scoring_without_a_probe_set_is_refused(tmp_path: Path) -> None:
    refusal(
        lambda: train(composed(tmp_path, *PRETRAINING, "probe=none")),
        "probe=none",
        "probe=own_labels",
        "probe=unscored",
    )


def test_without_labels_nothing_is_scored(tmp_path: Path) -> None:
    train(composed(tmp_path, *PRETRAINING, "probe=unscored"))
    assert json.loads((tmp_path / "scores.json").read_text())["scores"] == {}


def test_a_sweep_over_processes_needs_torchrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.delenv("SLURM_NTASKS", raising=False)
    arguments = ["-m", "trainer=ddp_cpu", "data.root=a b"]
    check_sweep(composed(tmp_path), arguments)
    several = composed(tmp_path, "trainer=ddp_cpu")
    command = "--nproc_per_node=2 -m src.train -m trainer=ddp_cpu 'data.root=a b' hydra.sweep.dir=DIR"
    refusal(lambda: check_sweep(several, arguments), "needs torchrun", command)
    for name, value in (("LOCAL_RANK", "0"), ("SLURM_NTASKS", "2")):
        with monkeypatch.context() as started:
            started.setenv(name, value)
            check_sweep(several, arguments)
