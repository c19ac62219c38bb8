"""Whole runs that were stopped and go on in their folder, and what they leave when something can't be written."""

import csv
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from src.assembly.evaluate import evaluate
from src.assembly.train import train
from src.prediction.loading import load
from src.tasks.pairs import PairTask
from tests.comparing import differences
from tests.composing import TINY_EPOCHS, composed
from tests.exporting import exported
from tests.refusals import refusal

TINY = (
    *(*TINY_EPOCHS, "trainer.max_epochs=3", "references=none", "task.region_start=0.5"),
    *("data.train_scenes=12", "data.val_scenes=3", "callbacks.checkpoint.every_n_steps=2"),
)


@contextmanager
def killed_in_step(step: int) -> Iterator[None]:
    """A run that ends in the midst of a step."""

    def training_step(self: Any, *arguments: Any) -> Any:
        if self.global_step == step:
            raise MemoryError("killed")
        return original(self, *arguments)

    original = PairTask.training_step
    with pytest.MonkeyPatch.context() as patched, pytest.raises(MemoryError):  # noqa: PT012
        patched.setattr(PairTask, "training_step", training_step)
        yield


def rows(folder: Path) -> list[tuple[str, ...]]:
    """What was logged: the step, and the loss or the score; empty in rows of other numbers."""
    with (folder / "csv" / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return [(row["step"], row["loss/total"], row["densesiam/mIoU"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was not stopped."""
    folder = tmp_path_factory.mktemp("straight")
    train(composed(folder, *TINY))
    return folder


def test_a_run_goes_on_in_its_folder(straight: Path, tmp_path: Path) -> None:
    """Its checkpoint is of step 6; the row of step 7 was logged after it. Then its last checkpoint is damaged."""
    with killed_in_step(7):
        train(composed(tmp_path, *TINY))
    assert len(rows(tmp_path)) > 7
    last = tmp_path / "checkpoints" / "last.ckpt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1  # one bit, of a weight
    last.write_bytes(content)
    with pytest.warns(UserWarning, match=r"going on from .*previous\.ckpt instead, which holds step 5"):
        train(composed(tmp_path, *TINY, f"ckpt_path={last}", "trainer.precision=32"))
    assert rows(tmp_path) == rows(straight)
    whole, parts = (torch.load(folder / "checkpoints" / "last.ckpt") for folder in (straight, tmp_path))
    for part in ("state_dict", "optimizer_states", "random_states", "global_step"):
        assert differences(whole[part], parts[part]) == [], part
    record = json.loads((tmp_path / "scores.json").read_text())["origin"]
    assert record["resumed"] == [{"step": 5, "changed": {"trainer.precision": ["32-true", 32]}}]
    assert record["checkpoint"]["path"] == str(last.with_name("previous.ckpt"))
    assert "resumed" not in json.loads((straight / "scores.json").read_text())["origin"]


def test_another_rate_is_refused(straight: Path, tmp_path: Path) -> None:
    again = [f"ckpt_path={straight}/checkpoints/last.ckpt", "optimizer.lr=0.01"]
    refusal(lambda: train(composed(tmp_path, *TINY, *again)), "optimizer.lr=0.01 (was 0.001)", "weights=")
    assert [path.name for path in tmp_path.iterdir()] == [".run"]


@pytest.mark.parametrize("command", [train, evaluate])
def test_the_folder_of_a_finished_run_is_left_alone(command: Any, straight: Path) -> None:
    before = {path: path.read_bytes() for path in straight.rglob("*") if path.is_file()}
    name, asked = {train: ("train", TINY), evaluate: ("evaluate", [f"ckpt_path={straight}/checkpoints/last.ckpt"])}[
        command
    ]
    refusal(lambda: command(composed(straight, *asked, name=name)), f"{straight}/scores.json is another run's")
    assert {path: path.read_bytes() for path in straight.rglob("*") if path.is_file()} == before


def test_pictures_and_logs_that_cannot_be_written_end_no_run(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    monkeypatch.setattr("src.training.csv_rows.write_whole", full)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(composed(tmp_path, *TINY))
    said = [str(each.message) for each in caught if "can't write" in str(each.message)]
    assert [message.partition(" (")[0] for message in said] == [
        f"can't write the log in {tmp_path}",
        f"can't write pictures in {tmp_path}/pictures",
    ]
    assert all("No space left on device" in message for message in said)
    scores = [json.loads((folder / "scores.json").read_text())["scores"] for folder in (straight, tmp_path)]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("what", ["train", "evaluate"])
def test_scores_that_cannot_be_written_are_printed(
    what: str, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("src.results.scores.write_whole", full)
    asked = [*TINY, "trainer.max_epochs=1"] if what == "train" else [f"ckpt_path={straight}/checkpoints/last.ckpt"]
    command = {"train": train, "evaluate": evaluate}[what]
    message = f"can't write {tmp_path / 'scores.json'} (No space left on device; "
    refusal(
        lambda: command(composed(tmp_path, *asked, name=what)), message, " free there): the scores are printed above"
    )
    assert "Scores in percent" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["load", "evaluate", "export"])
def test_a_damaged_checkpoint_is_refused_with_the_one_before(what: str, straight: Path, tmp_path: Path) -> None:
    last = tmp_path / "last.ckpt"
    content = bytearray((straight / "checkpoints" / "last.ckpt").read_bytes())
    content[len(content) // 2] ^= 1  # one bit, of a weight
    last.write_bytes(content)
    (tmp_path / "previous.ckpt").touch()
    commands = {
        "load": lambda: load(last),
        "evaluate": lambda: evaluate(composed(tmp_path / "out", f"ckpt_path={last}", name="evaluate")),
        "export": lambda: exported(last, tmp_path / "e.pth"),
    }
    refusal(commands[what], f"{last} is damaged", f"the checkpoint before it is {tmp_path / 'previous.ckpt'}")
