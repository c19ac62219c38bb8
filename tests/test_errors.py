"""What becomes one line, and what keeps its traceback: mistakes of the user, and those of our own code."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf

from src.clustering import sample_pixels
from src.errors import DenseSiamError, plain_errors
from src.models.necks import SimplifiedFPN
from tests.refusals import refusal

ROOT = Path(__file__).parents[1]


def made(**config: Any) -> Any:
    with plain_errors():
        return instantiate(OmegaConf.create({"part": config}).part)


def raising(error: Exception) -> Callable[[], None]:
    def run() -> None:
        with plain_errors():
            raise error

    return run


def broken() -> None:
    """A mistake in the code: a wrong argument for a library, deep inside."""
    sample_pixels(None, 1, torch.Generator())


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"_target_": "lightning.Trainer", "accelerator": "abacus"}, "part can't be made from its values:"),
        ({"_target_": "lightning.Trainer", "precision": "7"}, "Precision '7' is invalid"),
        ({"_target_": "lightning.Trainer", "strange": 1}, "strange: take it out, or correct its name"),
        ({"_target_": "src.monitoring.unreadable.Unreadable"}, "missing 1 required positional argument: 'file'"),
        ({"_target_": "src.monitoring.pictures.Nothing"}, "src.monitoring.pictures.Nothing"),
        ({"_target_": "lightning.pytorch.callbacks.Timer", "duration": "x"}, "part can't be made from its values:"),
    ],
)
def test_what_a_constructor_refuses_is_one_line(config: dict[str, Any], expected: str) -> None:
    refusal(lambda: made(**config), "part", expected)


def test_our_own_checks_speak_for_themselves() -> None:
    said = refusal(lambda: made(_target_="src.models.necks.SimplifiedFPN", in_channels=[8], channels=0))
    assert said.startswith("model.neck.channels is 0: expected a whole number from 1")


def test_a_mistake_in_our_code_keeps_its_traceback() -> None:
    with pytest.raises(AttributeError):
        made(_target_="tests.test_errors.broken")
    with pytest.raises(TypeError, match="'NoneType' object is not iterable"):
        made(_target_="src.models.necks.SimplifiedFPN", in_channels=None)
    with pytest.raises(ValueError, match="unrelated"):
        raising(ValueError("unrelated"))()
    assert SimplifiedFPN([4], 2).channels == 2


@pytest.mark.filterwarnings("ignore:.*configure_optimizers.* returned .None")
def test_what_lightning_refuses_later_is_one_line() -> None:
    refusal(raising(MisconfigurationException("no\n  such thing")), "Lightning can't do what the config says: no such")

    loader = torch.utils.data.DataLoader(torch.zeros(3))

    def run() -> None:
        trainer = lightning.Trainer(
            val_check_interval=7, max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False
        )
        with plain_errors():
            trainer.fit(Plain(), loader, loader)

    refusal(run, "`val_check_interval` (7) must be less than or equal")


class Plain(lightning.LightningModule):
    """Trains nothing."""

    def training_step(self, batch: Any, batch_idx: int) -> None:
        return None

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        return None

    def configure_optimizers(self) -> None:
        return None


@pytest.mark.parametrize(
    "said",
    [
        "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4242",
        "NCCL error in: ProcessGroupNCCL.cpp, remote process exited or there was a network error",
        "[..]: Connection reset by peer",
    ],
)
def test_the_loss_of_another_process_is_told_in_our_words(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError):
        raising(RuntimeError(said))()  # a single process has lost no other
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    refusal(raising(RuntimeError(said)), "another process of this run has ended")
    with pytest.raises(RuntimeError, match="a mistake"):
        raising(RuntimeError("a mistake"))()


class Die(lightning.Callback):
    """Ends process 1 after two steps, as the system does when memory is short."""

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_rank == 1 and trainer.global_step == 2:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_the_last_line_of_a_process_left_alone_is_ours(tmp_path: Path) -> None:
    overrides = ["experiment=demo", "debug=tiny", "trainer=ddp_cpu", "trainer.fast_dev_run=false", "references=none"]
    overrides += ["data.train_scenes=32", "data.val_scenes=4", "data.scene_size=32", "score_before=false"]
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "src.train",
            *overrides,
            f"hydra.run.dir={tmp_path}",
            "+callbacks.die={_target_: tests.test_errors.Die}",
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PWD": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert result.returncode != 0
    assert result.stderr.splitlines()[-1].startswith("another process of this run has ended")
    assert "Traceback" not in result.stderr


def test_names_of_strangers_reach_no_terminal_as_codes() -> None:
    assert str(DenseSiamError("a\nb \x1b[31m müller \udce4")) == "a\\nb \\x1b[31m müller \\udce4"
