"""The dashboard of wandb: built without an account, it shows what runs log."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from src.assembly.train import train
from tests.composing import TINY_EPOCHS, composed

workspaces = pytest.importorskip("wandb_workspaces.workspaces", reason="pip install wandb-workspaces")
script: Any = pytest.importorskip("scripts.wandb_workspace")


def test_the_dashboard_compares_the_jobs_of_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[Any] = []
    monkeypatch.setattr(workspaces.Workspace, "save", lambda view: saved.append(view))
    monkeypatch.setattr(sys, "argv", ["wandb_workspace.py", "--entity", "me"])
    script.main()
    view = saved[0]._to_model().model_dump(by_alias=True, mode="json")
    assert (view["entity"], view["project"], view["displayName"]) == ("me", "densesiam", "DenseSiam")
    spec = view["spec"]["section"]
    assert spec["runSets"][0]["grouping"] == [{"section": "run", "name": "group"}]
    titles = [section["name"] for section in spec["panelBankConfig"]["sections"]]
    assert titles[:2] == ["Scores and swept values", "Pictures"]
    text = json.dumps(spec)
    for name in ("config:model.value.grid_size", "config:task.value.loss_weights.region", "summary:scores/mIoU"):
        assert f'"{name}"' in text


def test_its_lines_are_what_runs_log(tmp_path: Path) -> None:
    train(composed(tmp_path, *TINY_EPOCHS, "trainer.max_epochs=1", "task.region_start=0.0", "references=none"))
    with (tmp_path / "csv" / "metrics.csv").open() as file:
        logged = set(next(csv.reader(file)))
    shown = {name for names in script.LINES.values() for name in names}
    assert {name for name in logged if name.startswith(("label_free/", "loss/", "optimizer/"))} <= shown
    assert {name for name in shown if "/dense" in name or name.startswith("densesiam")} <= logged
