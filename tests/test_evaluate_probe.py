"""The row of a linear probe beside a checkpoint that segments."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sklearn.linear_model import LogisticRegression

from src.assembly.evaluate import evaluate
from src.assembly.train import train
from src.data.labelled_folder import LabelledFolder
from src.data.probe_data import own_labels
from src.errors import DenseSiamError, plain_errors
from src.evaluation.probing import cell_targets
from src.prediction.loading import load
from tests import naive
from tests.composing import TINY_EPOCHS, composed
from tests.refusals import refusal

ROW = "checkpoint, linear probe"
EVERY_CELL = ["linear_probe.cells_per_image=10000", "linear_probe.l2=[0.01]", "linear_probe.max_iterations=1000"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("run")
    train(composed(output, *TINY_EPOCHS, "trainer.max_epochs=1", "references=none", "score_before=false"))
    return output / "checkpoints" / "last.ckpt"


def on(root: Path) -> list[str]:
    return ["data=labelled_folder", f"data.root={root}", "data.batch_size=2", "data.num_workers=0"]


def evaluated(output: Path, checkpoint: Path, *overrides: str) -> dict[str, Any]:
    evaluate(composed(output, f"ckpt_path={checkpoint}", "protocol.resamples=0", *overrides, name="evaluate"))
    document: dict[str, Any] = json.loads((output / "scores.json").read_text())
    return document


def by_scikit_learn(checkpoint: Path, folder: LabelledFolder, l2: float) -> tuple[float, float]:
    """mIoU and accuracy of its logistic regression on every cell of the training images, in percent.

    A cell of several classes is a row for each, weighted by its share. scikit-learn's C weighs the sum over the rows,
    our l2 their mean.
    """
    network: Any = load(checkpoint).network
    rows, targets, weights = [], [], []
    for batch in own_labels(folder).labelled_dataloader():
        with torch.no_grad():
            features = network.features(batch["image"])
        shares, counted = cell_targets(batch["label"], features.shape[2:], 3)
        for k in range(3):
            rows.append(features.permute(0, 2, 3, 1).flatten(0, 2).double().numpy())
            weights.append((shares[..., k] * counted).flatten().numpy())
            targets.append(np.full(len(rows[-1]), k))
    cells, weight = np.concatenate(rows), np.concatenate(weights).astype(float)
    mean = np.average(cells, axis=0, weights=weight)
    deviation = np.sqrt(np.average((cells - mean) ** 2, axis=0, weights=weight))
    theirs = LogisticRegression(C=1 / (l2 * weight.sum()), tol=1e-8, max_iter=5000)
    theirs.fit((cells - mean) / deviation, np.concatenate(targets), sample_weight=weight)
    truth, found = [], []
    for batch in folder.val_dataloader():
        with torch.no_grad():
            features = network.features(batch["image"]).double()
        standard = (features.permute(0, 2, 3, 1).numpy() - mean) / deviation
        logits = torch.from_numpy(standard @ theirs.coef_.T + theirs.intercept_).permute(0, 3, 1, 2)
        upsampled = F.interpolate(logits, batch["label"].shape[1:], mode="bilinear", align_corners=False)
        truth += batch["label"].flatten().tolist()
        found += upsampled.argmax(1).flatten().tolist()
    confusion = naive.confusion(truth, found, 3, 3)
    hits, total = sum(confusion[k][k] for k in range(3)), sum(map(sum, confusion))
    return float(np.nanmean(naive.class_iou(confusion, range(3)))), 100 * hits / total


def test_the_row_is_logistic_regression_on_the_training_labels(
    checkpoint: Path, labelled_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(tmp_path, checkpoint, *on(labelled_root), "probe=own_labels", *EVERY_CELL)
    setting = OmegaConf.create(found["config"])
    folder = instantiate(setting.data, protocol=instantiate(setting.protocol), _convert_="all")
    miou, accuracy = by_scikit_learn(checkpoint, folder, 0.01)
    row = found["scores"][ROW]
    assert (row["mIoU"], row["accuracy"]) == (pytest.approx(miou, abs=0.3), pytest.approx(accuracy, abs=0.3))
    assert row["accuracy"] > 60
    assert found["protocol"]["probes"] == f"linear (not matched), fitted on 6 images, train of {labelled_root}"
    assert found["config"]["linear_probe"]["l2"] == [0.01]
    assert ROW in capsys.readouterr().out
    assert (tmp_path / "pictures" / "checkpoint_linear_probe_step000000.png").is_file()


def test_the_other_rows_stay_as_they_are(checkpoint: Path, labelled_root: Path, tmp_path: Path) -> None:
    plain = evaluated(tmp_path / "plain", checkpoint, *on(labelled_root))
    own = evaluated(tmp_path / "own", checkpoint, *on(labelled_root), "probe=own_labels")
    elsewhere = ["probe=labelled_folder", f"probe.root={labelled_root}"]
    both = evaluated(tmp_path / "both", checkpoint, *on(labelled_root), *elsewhere, f"baseline_path={checkpoint}")
    rows = ["", ", merged", ", linear probe"]
    assert list(plain["scores"]) == ["checkpoint", "checkpoint, merged"]
    assert list(both["scores"]) == [f"{label}{row}" for label in ("checkpoint", "baseline") for row in rows]
    for name, found in (("checkpoint", own), ("checkpoint", both), ("baseline", both)):
        assert found["scores"][name] == plain["scores"]["checkpoint"]
    for name, found in ((ROW, both), ("baseline, linear probe", both)):
        assert found["scores"][name] == own["scores"][ROW]
    assert own["scores"][ROW] != plain["scores"]["checkpoint"]
    assert "probes" not in plain["protocol"]
    assert "linear_probe" not in plain["config"]


def test_matching_head_and_release_are_of_the_clusters(checkpoint: Path, labelled_root: Path, tmp_path: Path) -> None:
    own = ["probe=own_labels", *on(labelled_root)]
    plain = evaluated(tmp_path / "plain", checkpoint, *own)["scores"]
    other = evaluated(tmp_path / "other", checkpoint, *own, "protocol.matching=majority", "protocol.head=aux")["scores"]
    assert other["checkpoint"] != plain["checkpoint"]
    assert other[ROW] == plain[ROW]


def test_the_releases_numbers_are_left_out_of_the_probe(checkpoint: Path, tmp_path: Path) -> None:
    """On the scenes that the checkpoint was trained on: they have as many classes as it has clusters."""
    found = evaluated(tmp_path, checkpoint, "protocol=release", "probe=own_labels")["scores"]
    assert "release_block_mIoU_thing" in found["checkpoint"]
    assert not any(name.startswith("release") for name in found[ROW])


def test_splits_without_labels_are_refused(checkpoint: Path, labelled_root: Path, tmp_path: Path) -> None:
    missing = labelled_root / "labels" / "train" / "scene2.png"
    missing.unlink()
    refusal(
        lambda: evaluated(tmp_path, checkpoint, *on(labelled_root), "probe=own_labels"),
        f"1 of 6 training images have no labels, such as {missing}",
        "probe=labelled_folder probe.root=DIR",
    )


def test_a_split_without_any_labels_is_left_out(checkpoint: Path, labelled_root: Path, tmp_path: Path) -> None:
    (labelled_root / "images" / "extra").mkdir()
    shutil.copy(labelled_root / "images" / "train" / "scene0.png", labelled_root / "images" / "extra" / "more.png")
    own = ["probe=own_labels", *on(labelled_root), "data.train_splits=[train,extra]"]
    with pytest.warns(UserWarning, match="1 of 7 training images, all of extra, have no labels"):
        found = evaluated(tmp_path, checkpoint, *own)
    assert ROW in found["scores"]
    assert found["protocol"]["probes"].endswith(f"train+extra of {labelled_root}, without extra, which has no labels")


def test_it_is_fitted_as_pretrainings_is(tmp_path: Path) -> None:
    ours = composed(tmp_path, "ckpt_path=x", name="evaluate").linear_probe
    theirs = composed(tmp_path, "experiment=coco128_pretrain").task.linear_probe
    assert {**ours, "seed": None} == {**theirs, "seed": None}


def test_without_a_penalty_to_choose_it_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(DenseSiamError, match=r"linear_probe\.l2 is"), plain_errors():
        evaluated(tmp_path, checkpoint, "probe=own_labels", "linear_probe.l2=[]")
