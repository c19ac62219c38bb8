"""What happens before the first step: weights of others, and what the run will cost."""

import json
from pathlib import Path

import pytest
import torch

from src.assembly.evaluate import evaluate
from src.assembly.train import train
from src.errors import plain_errors
from tests.composing import TINY_EPOCHS, composed
from tests.refusals import refusal

TINY = (*TINY_EPOCHS, "trainer.max_epochs=2", "references=none", "protocol.resamples=0")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("run")
    train(composed(output, *TINY))
    return output


def test_the_table_of_costs_changes_nothing_of_the_run(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(composed(tmp_path, *TINY, "estimate_steps=2"))
    printed = capsys.readouterr().out
    for row in ("training images", "parameters", "memory", "seconds per batch", "estimated time", "free disk"):
        assert row in printed
    assert printed.index("estimated time") < printed.index("Scores in percent")
    before, after = (torch.load(path / "checkpoints" / "last.ckpt")["state_dict"] for path in (finished, tmp_path))
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_without_measured_steps_there_is_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(composed(tmp_path, *TINY, "estimate_steps=0", "trainer.max_epochs=1"))
    assert "estimated time" not in capsys.readouterr().out


def test_a_run_starts_from_the_weights_of_another(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = finished / "checkpoints" / "last.ckpt"
    trained = json.loads((finished / "scores.json").read_text())["scores"]["after training"]
    train(composed(tmp_path, *TINY, f"weights={checkpoint}", "seed=5", "trainer.max_epochs=1"))
    printed = capsys.readouterr().out
    entries = len([name for name in torch.load(checkpoint)["state_dict"] if name.startswith("network.")])
    assert f"{entries} of {entries} entries loaded from {checkpoint}" in printed
    started = json.loads((tmp_path / "scores.json").read_text())["scores"]["before training"]
    assert started == pytest.approx(trained)
    # What was trained is scored from its own checkpoint, which needs the file no more.
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    after = json.loads((tmp_path / "scores.json").read_text())["scores"]["after training"]["mIoU"]
    assert evaluate(composed(tmp_path / "again", f"ckpt_path={checkpoint}", name="evaluate")) == pytest.approx(after)


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    torch.save({"other.weight": torch.zeros(3)}, tmp_path / "other.pth")
    config = composed(tmp_path, *TINY, f"weights={tmp_path / 'other.pth'}")
    refusal(lambda: train(config), "nothing in", tmp_path / "other.pth", "other.weight")


@pytest.mark.parametrize("steps", ["-1", "x", "1.5"])
def test_the_number_of_measured_steps_is_a_number(steps: str, tmp_path: Path) -> None:
    refusal(lambda: train(composed(tmp_path, *TINY, f"estimate_steps={steps}")), "estimate_steps is", "0 for no table")


def test_weights_and_a_run_to_resume_exclude_each_other(finished: Path, tmp_path: Path) -> None:
    checkpoint = finished / "checkpoints" / "last.ckpt"
    config = composed(tmp_path, *TINY, f"weights={checkpoint}", f"ckpt_path={checkpoint}")
    refusal(lambda: train(config), "ckpt_path and weights are both given")


def test_ctrl_c_is_one_word() -> None:
    with pytest.raises(SystemExit) as caught, plain_errors():
        raise KeyboardInterrupt
    assert caught.value.code == "Stopped"
