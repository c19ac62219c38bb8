"""A training that leaves the finite numbers: it ends with one line, and what was finite stays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from src.assembly.train import train
from src.checkpoints.finite import NotFiniteError, not_finite
from tests.composing import composed
from tests.resuming import run


def weight(trainer: Any, module: Any) -> Any:
    return module.net[0].weight


def unused_by_the_loss(trainer: Any, module: Any) -> Any:
    return module.net[1].running_var  # batch norm in training mode uses the batch's own


def momentum(trainer: Any, module: Any) -> Any:
    return trainer.optimizers[0].state[module.net[0].bias]["momentum_buffer"]


class Broken(Callback):
    """Makes a number of the training infinite after a step."""

    def __init__(self, step: int, which: Callable[[Any, Any], Any]) -> None:
        self.step, self.which = step, which

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            self.which(trainer, pl_module).data.flatten()[0] = torch.inf


def advised(capsys: pytest.CaptureFixture[str], path: Path) -> None:
    """The checkpoint that is still good is finite, and the line about it doesn't lead into the same again."""
    checkpoint = torch.load(path)
    assert list(not_finite([checkpoint["state_dict"], checkpoint["optimizer_states"]])) == []
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "holds step" in line)
    assert line.startswith(f"{path} holds step {checkpoint['global_step']}, all finite: ")
    assert line.endswith(f"weights={path}")
    assert "ckpt_path" not in line


@pytest.mark.parametrize("which", [weight, unused_by_the_loss, momentum])
@pytest.mark.parametrize(("broken_at", "kept"), [(5, 4), (6, 4), (9, 6)])
def test_the_checkpoint_before_stays(
    which: Any, broken_at: int, kept: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether it is noticed within an epoch or at its end."""
    ended = run(tmp_path, every_n_steps=4, callbacks=[Broken(broken_at, which)])
    assert isinstance(ended.ended_by, NotFiniteError)
    last = tmp_path / "last.ckpt"
    assert f"{last} is left as it was at step {kept}" in str(ended.ended_by)
    assert torch.load(last)["global_step"] == kept
    advised(capsys, last)


def test_the_best_one_stays_too(tmp_path: Path) -> None:
    best = ModelCheckpoint(tmp_path, "best", monitor="drawn", save_top_k=1, enable_version_counter=False)
    ended = run(tmp_path, callbacks=[Broken(1, weight), best])
    assert isinstance(ended.ended_by, NotFiniteError)
    assert list(tmp_path.iterdir()) == []


def test_another_failure_is_not_hidden(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = run(tmp_path, broken=[7], callbacks=[Broken(1, weight)])
    assert str(ended.ended_by) == "can't read image 7"
    said = capsys.readouterr().err.splitlines()
    assert "not finite after step 2" in said[-2]
    assert said[-1] == "Stopped before a checkpoint was written"


def test_a_rate_that_is_too_high(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = [
        "experiment=demo",
        "trainer.accelerator=cpu",
        "data.train_scenes=64",
        "data.val_scenes=8",
        "trainer.max_epochs=2",
        "references=none",
    ]
    small += [
        "score_before=false",
        "estimate_steps=0",
        "data.scene_size=32",
        "data.views.size=32",
        "data.num_workers=0",
    ]
    small += ["data.batch_size=8", "callbacks.checkpoint.every_n_steps=1", "optimizer=sgd", "optimizer.base_lr=1e4"]
    with pytest.raises(
        NotFiniteError, match=r"is not finite after step \d+: .*left as it was at step \d+; lower the learning rate"
    ):
        train(composed(tmp_path, *small, "trainer.log_every_n_steps=1"))
    advised(capsys, tmp_path / "checkpoints" / "last.ckpt")
