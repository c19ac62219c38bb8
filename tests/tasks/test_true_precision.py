"""Whole runs in `bf16-true`, `16-true` and `64-true`, where Lightning converts every tensor that floats."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from src.assembly.train import train
from src.tasks.pairs import PairTask
from tests.comparing import differences
from tests.composing import composed
from tests.refusals import refusal

TINY = [
    "experiment=demo",
    "debug=tiny",
    "trainer.fast_dev_run=false",
    "trainer.max_epochs=1",
    "callbacks.progress=null",
]
TINY += ["data.train_scenes=4", "data.val_scenes=2", "data.scene_size=32", "protocol.side=32", "fit_images=4"]
DENSESIAM = ["task.region_start=0.0", "references=none"]
SMALL = ["model.num_aux_categories=9", "model.neck.channels=16", "references=none"]
PROBES = ["experiment=demo_pretrain", "task.region_start=0.0"]


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
@pytest.mark.parametrize(
    "method",
    [
        DENSESIAM,
        [*DENSESIAM, "model/neck=principal_components", "model.neck.channels=8"],
        [*SMALL, "+ablation=picie_aux"],
        [*SMALL, "+ablation=deepcluster"],
        [*SMALL, "+ablation=iic"],
        pytest.param(PROBES, marks=pytest.mark.slow),
    ],
    ids=["densesiam", "principal_components", "picie", "deepcluster", "iic", "pretrain"],
)
def test_every_method_runs_and_is_scored(method: list[str], precision: str, tmp_path: Path) -> None:
    final = train(composed(tmp_path, *TINY, *method, f"trainer.precision={precision}"))
    assert 0 < final < 100
    dtypes = {value.dtype for value in torch.load(tmp_path / "checkpoints" / "last.ckpt")["state_dict"].values()}
    assert {"bf16-true": torch.bfloat16, "64-true": torch.float64}[precision] in dtypes


@pytest.mark.parametrize("precision", ["bf16-true", pytest.param("16-true", marks=pytest.mark.slow)])
def test_references_are_scored_as_in_float32(precision: str, tmp_path: Path) -> None:
    scores = []
    for one in ("32-true", precision):
        overrides = ["references=colour", "score_before=false", "+trainer.limit_train_batches=0"]
        train(composed(tmp_path / one, *TINY, *overrides, f"trainer.precision={one}"))
        scores.append(json.loads((tmp_path / one / "scores.json").read_text())["scores"]["k-means on colour"])
    assert scores[0] == scores[1]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true"])
def test_all_references_run(precision: str, tmp_path: Path) -> None:
    overrides = ["references=all", "score_before=false", "optimizer=sgd"]  # Adam is refused in float16
    train(composed(tmp_path, *TINY, *overrides, f"trainer.precision={precision}"))
    assert (
        len(json.loads((tmp_path / "scores.json").read_text())["scores"]) == 8
    )  # six reference methods, and the network with its merged categories


def test_boxes_and_losses_stay_in_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    step = PairTask.training_step

    def spied(self: Any, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        found = step(self, batch, batch_idx)
        seen.extend([batch["boxes"], found["loss"]])
        return found

    monkeypatch.setattr(PairTask, "training_step", spied)
    train(composed(tmp_path, *TINY, *DENSESIAM, "trainer.precision=bf16-true", "score_before=false"))
    assert [value.dtype for value in seen] == [torch.float32] * 2
    boxes = seen[0]
    assert not torch.equal(boxes, boxes.bfloat16().float())  # so that the comparison above means something


@pytest.mark.parametrize("precision", [pytest.param("bf16-true", marks=pytest.mark.slow), "64-true"])
def test_a_resumed_run_is_one_that_never_stopped(precision: str, tmp_path: Path) -> None:
    command = [*TINY, *DENSESIAM, "score_before=false", f"trainer.precision={precision}"]
    for name, epochs, more in (
        ("whole", 2, ""),
        ("first", 1, ""),
        ("rest", 2, f"{tmp_path}/first/checkpoints/last.ckpt"),
    ):
        resumed = [f"ckpt_path={more}"] if more else []
        train(composed(tmp_path / name, *command, f"trainer.max_epochs={epochs}", *resumed))
    whole, rest = (torch.load(tmp_path / name / "checkpoints" / "last.ckpt") for name in ("whole", "rest"))
    for part in ("state_dict", "optimizer_states"):
        assert differences(whole[part], rest[part]) == []


@pytest.mark.parametrize("row", ["picie_aux", "deepcluster", "iic"])
def test_adam_in_float16_ends_in_one_line(row: str, tmp_path: Path) -> None:
    """Its epsilon of 1e-8 is 0 there."""
    config = composed(tmp_path, *TINY, *SMALL, f"+ablation={row}", "trainer.precision=16-true", "data.train_scenes=8")
    refusal(lambda: train(config), "not finite at step 1", "set trainer.precision=32-true instead of 16-true")
