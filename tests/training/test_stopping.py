"""Stopping a run as a user does, and going on with the same command."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from src.assembly.train import train
from src.tasks.pairs import PairTask
from tests.comparing import differences
from tests.composing import TINY_EPOCHS, composed

ROOT = Path(__file__).parents[2]
TINY = (
    *(*TINY_EPOCHS, "trainer.max_epochs=3", "score_before=false", "references=none", "task.region_start=0.5"),
    *("data.train_scenes=12", "data.val_scenes=3"),
)


@pytest.mark.parametrize("experiment", ["demo", "demo_pretrain"])
def test_ctrl_c_in_a_step_and_the_same_command_again(
    experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RegionSim becomes active in the third epoch; the run is stopped in the second."""
    command = [f"experiment={experiment}", *TINY]
    train(composed(tmp_path / "straight", *command))

    def signalled(self: Any, *arguments: Any) -> Any:
        if self.global_step == 4:
            signal.raise_signal(signal.SIGINT)
        return step(self, *arguments)

    step = PairTask.training_step
    with monkeypatch.context() as patched:
        patched.setattr(PairTask, "training_step", signalled)
        with pytest.raises(SystemExit) as ended:
            train(composed(tmp_path / "stopped", *command))
    assert ended.value.code == 128 + signal.SIGINT
    last = tmp_path / "stopped" / "checkpoints" / "last.ckpt"
    assert torch.load(last)["global_step"] == 5
    assert not (tmp_path / "stopped" / "scores.json").exists()
    train(composed(tmp_path / "resumed", *command, f"ckpt_path={last}"))
    whole, parts = (torch.load(tmp_path / name / "checkpoints" / "last.ckpt") for name in ("straight", "resumed"))
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "random_states", "epoch", "global_step"):
        assert differences(whole[part], parts[part]) == [], part
    scores = [json.loads((tmp_path / name / "scores.json").read_text())["scores"] for name in ("straight", "resumed")]
    assert scores[0] == scores[1]


@pytest.mark.slow
def test_ctrl_c_ends_the_program_with_one_line(tmp_path: Path) -> None:
    last = tmp_path / "checkpoints" / "last.ckpt"
    overrides = [*TINY, "trainer.max_epochs=100000", "callbacks.checkpoint.every_n_steps=1", "data.num_workers=1"]
    with subprocess.Popen(
        [sys.executable, "-m", "src.train", *overrides, f"hydra.run.dir={tmp_path}"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while not last.exists() and process.poll() is None:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it: to the loader process as well
        _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT, said
    (line,) = (line for line in said.splitlines() if "ckpt_path=" in line)
    assert line.endswith(f"the same command with ckpt_path={last} goes on from there")
    assert "Traceback" not in said
    assert {each.name for each in last.parent.iterdir()} <= {"last.ckpt", "previous.ckpt"}
    assert torch.load(last)["global_step"] >= 1
