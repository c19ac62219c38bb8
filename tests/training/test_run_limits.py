"""Runs that train or score less than usual: each runs through, or ends in one line, and is scored at its end."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch

from src.assembly.evaluate import evaluate
from src.assembly.train import train
from tests.composing import TINY_EPOCHS, composed
from tests.refusals import refusal

TINY = (
    *(*TINY_EPOCHS, "trainer.max_epochs=2", "callbacks.progress=null", "references=none"),
    *("data.val_scenes=3", "protocol.side=32", "model.num_aux_categories=9", "model.neck.channels=16"),
)
PICIE = ["+ablation=picie_aux", "score_before=true"]


def names(folder: Path) -> list[str]:
    """Checkpoints, but for the one that the last one has replaced."""
    return sorted(path.name for path in folder.glob("checkpoints/*") if path.name != "previous.ckpt")


# The best epoch by labels.


@pytest.mark.parametrize(
    ("method", "key"),
    [
        ([], "densesiam/mIoU"),
        (["+ablation=picie", "references=colour"], "picie/mIoU"),  # a reference is scored before
        (["+ablation=deepcluster"], "deepcluster/mIoU"),
        (["+ablation=iic"], "iic/mIoU"),
        pytest.param(["experiment=demo_pretrain"], "linear_probe/mIoU", marks=pytest.mark.slow),
    ],
)
def test_the_best_epoch_is_kept_of_every_task(method: list[str], key: str, tmp_path: Path) -> None:
    overrides = [*TINY, *method] if key != "linear_probe/mIoU" else [*TINY[:-2], *method]
    train(composed(tmp_path, *overrides, "callbacks=best_by_labelled_miou"))
    assert names(tmp_path) == ["best_by_labelled_miou.ckpt", "last.ckpt"]
    with (tmp_path / "csv" / "metrics.csv").open() as file:
        scored = {int(row["epoch"]): float(row[key]) for row in csv.DictReader(file) if row[key] and row["epoch"]}
    best = torch.load(tmp_path / "checkpoints" / "best_by_labelled_miou.ckpt")
    (kept,) = (state for name, state in best["callbacks"].items() if "BestByLabels" in name)
    assert kept["monitor"] == key
    assert kept["best_model_score"].item() == pytest.approx(max(scored[0], scored[1]), rel=1e-5)
    assert scored[best["epoch"]] == pytest.approx(max(scored[0], scored[1]), rel=1e-5)


@pytest.mark.parametrize("unscored", [["+trainer.limit_val_batches=0"], ["experiment=demo_pretrain", "probe=unscored"]])
def test_the_best_epoch_needs_scores(unscored: list[str], tmp_path: Path) -> None:
    config = composed(tmp_path, *TINY[:-2], *unscored, "callbacks=best_by_labelled_miou")
    refusal(lambda: train(config), "nothing is scored", "probe=own_labels", "callbacks=default")


def test_no_epoch_was_the_best_one_if_none_was_scored(tmp_path: Path) -> None:
    overrides = ["callbacks=best_by_labelled_miou", "trainer.check_val_every_n_epoch=5"]
    with pytest.warns(UserWarning, match="best_by_labelled_miou has written nothing"):
        train(composed(tmp_path, *TINY, *overrides))
    assert names(tmp_path) == ["last.ckpt"]


# Fewer batches.


@pytest.mark.parametrize(("limit", "more"), [("0", []), ("0.0", ["trainer.num_sanity_val_steps=2"])])
def test_without_validation_batches_nothing_is_scored(limit: str, more: list[str], tmp_path: Path) -> None:
    final = train(composed(tmp_path, *TINY, *more, f"+trainer.limit_val_batches={limit}"))
    assert math.isnan(final)
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["scores"] == {}
    assert "nothing is scored" in written["protocol"]["data"]
    assert written["cost"]["steps"] == 4


@pytest.mark.filterwarnings("ignore:The dataloader, val_dataloader, does not have many workers")
def test_scoring_a_checkpoint_without_batches_is_refused(tmp_path: Path) -> None:
    train(composed(tmp_path, *TINY, "trainer.max_epochs=1", "score_before=false"))
    ckpt = f"ckpt_path={tmp_path}/checkpoints/last.ckpt"
    config = composed(tmp_path / "scored", ckpt, "+trainer.limit_val_batches=0", name="evaluate")
    refusal(lambda: evaluate(config), "nothing would be scored", "trainer.limit_val_batches above 0")


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        (["+trainer.limit_val_batches=1"], 4),
        (["+trainer.limit_train_batches=0"], 0),
        (["+trainer.limit_train_batches=0.0", *PICIE], 0),
        (["+trainer.limit_train_batches=1"], 2),
        (["trainer.num_sanity_val_steps=2"], 4),
        (["trainer.num_sanity_val_steps=2", *PICIE], 4),
        (["trainer.check_val_every_n_epoch=5"], 4),
        (["trainer.max_steps=1"], 1),
        (["trainer.max_epochs=-1", "trainer.max_steps=3"], 3),
        (["+trainer.val_check_interval=0.5"], 4),
    ],
)
def test_a_limited_run_is_scored_at_its_end(
    overrides: list[str], steps: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    final = train(composed(tmp_path, *TINY, *overrides))
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["cost"]["steps"] == steps
    assert written["scores"]["after training"]["mIoU"] == pytest.approx(final)
    before, after = (written["scores"][row] for row in ("before training", "after training"))
    assert (before == after) is (steps == 0)
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.endswith("no checkpoint was written") is (steps == 0)
    assert names(tmp_path) == (["last.ckpt"] if steps else [])


def test_scores_with_and_without_sanity_steps_are_those_of_one_run(tmp_path: Path) -> None:
    few = [*TINY, "score_before=false", "callbacks.pictures=null"]
    values = ([], ["trainer.num_sanity_val_steps=2", "trainer.check_val_every_n_epoch=5"])
    one, other = (train(composed(tmp_path / str(number), *few, *more)) for number, more in enumerate(values))
    assert one == pytest.approx(other)


@pytest.mark.parametrize(("overfit", "more"), [("1", []), ("0.5", PICIE), ("1", ["score_before=false"])])
def test_overfitting_a_batch_is_refused(overfit: str, more: list[str], tmp_path: Path) -> None:
    config = composed(tmp_path, *TINY, *more, f"+trainer.overfit_batches={overfit}")
    refusal(lambda: train(config), f"overfit_batches is {overfit}", "+trainer.limit_train_batches=2")


# What the last line says.


def test_a_tiny_run_says_that_it_wrote_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(composed(tmp_path, *TINY, "trainer.fast_dev_run=2", "callbacks=best_by_labelled_miou"))
    said = capsys.readouterr().out
    assert said.strip().splitlines()[-1].endswith(f"scores.json, pictures in {tmp_path}; no checkpoint was written")
    assert "FLOPs" not in said
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_whole_run_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(composed(tmp_path, *TINY, "callbacks.pictures=null", "score_before=false"))
    said = capsys.readouterr().out
    assert said.strip().splitlines()[-1].endswith(f"scores.json, checkpoints/last.ckpt in {tmp_path}")
    assert "FLOPs" not in said
