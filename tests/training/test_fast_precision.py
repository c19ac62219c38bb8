"""Which number format is fast on a device, and what the user reads about it."""

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from src.assembly.evaluate import evaluate
from src.assembly.train import train
from src.checkpoints.provenance import config_hash
from src.checkpoints.reading import read_checkpoint
from src.training import precision
from src.training.precision import fast_precision, multiplies_bfloat16, remark
from src.training.trainer import make_trainer
from tests.composing import TINY_EPOCHS, composed


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 rdpid", True),
        ("flags\t\t: fpu amx_tile amx_bf16", True),
        ("Features\t: fp asimd bf16", True),
        ("flags\t\t: fpu avx512f avx2", False),
        ("model name\t: bf16", False),
        ("", False),
    ],
)
def test_a_processor_is_asked_for_its_instructions(
    line: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\n")
    monkeypatch.setattr(precision, "PROCESSOR", tmp_path / "cpuinfo")
    assert multiplies_bfloat16("cpu") is expected
    assert not multiplies_bfloat16("mps")
    monkeypatch.setattr(precision, "PROCESSOR", tmp_path / "none")
    assert not multiplies_bfloat16("cpu")


@pytest.mark.parametrize(("fast", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_is_the_fast_precision_of_the_device(
    fast: bool, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: fast)
    assert fast_precision("cpu") == expected
    config = OmegaConf.create(
        {
            "_target_": "lightning.Trainer",
            **{"accelerator": "cpu", "precision": "auto", "max_epochs": 1, "use_distributed_sampler": False},
            **{"logger": False, "default_root_dir": str(tmp_path)},
        }
    )
    assert make_trainer(config).precision == expected


def run_with(fast: bool, output: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> dict[str, Any]:
    """Train the tiny demo with `trainer=fast` on a processor with or without instructions; returns its scores.json."""
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: fast)
    train(
        composed(
            output, *TINY_EPOCHS, "trainer=fast", "score_before=false", "estimate_steps=0", "references=none", *more
        )
    )
    written: dict[str, Any] = json.loads((output / "scores.json").read_text())
    return written


@pytest.mark.slow
def test_a_run_says_which_precision_auto_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two processors that compute otherwise have other hashes; such a run can be resumed and scored on the other."""
    half, exact = tmp_path / "half", tmp_path / "exact"
    first = run_with(True, half, monkeypatch, "trainer.max_epochs=1")
    assert "trainer.precision=auto is bf16-mixed on this device" in capsys.readouterr().out
    checkpoint = half / "checkpoints" / "last.ckpt"
    stored = read_checkpoint(checkpoint)
    assert stored["config"]["trainer"]["precision"] == first["config"]["trainer"]["precision"] == "bf16-mixed"
    assert stored["origin"]["config"] == config_hash(stored["config"])

    second = run_with(False, exact, monkeypatch, "trainer.max_epochs=2", f"ckpt_path={checkpoint}")
    assert "trainer.precision=32-true (was bf16-mixed)" in capsys.readouterr().out
    assert (second["config"]["trainer"]["precision"], second["cost"]["steps"]) == ("32-true", 4)
    trainer = {"trainer": stored["config"]["trainer"] | {"precision": "32-true"}}
    assert config_hash(stored["config"] | trainer) != stored["origin"]["config"]

    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: True)
    evaluate(composed(tmp_path / "scored", f"ckpt_path={checkpoint}", "trainer=fast", name="evaluate"))
    scored = json.loads((tmp_path / "scored" / "scores.json").read_text())
    assert scored["config"]["precision"] == "bf16-mixed"
    assert scored["scores"]["checkpoint"]["mIoU"] == pytest.approx(first["scores"]["after training"]["mIoU"])


@pytest.mark.parametrize(
    ("name", "fast", "words"),
    [
        ("32-true", True, "trainer=fast takes bf16-mixed"),
        ("32-true", False, "so trainer=fast takes it too"),
        ("bf16-mixed", True, ""),
        ("bf16-mixed", False, "slower than 32-true here"),
        ("64-true", True, ""),
    ],
)
def test_the_user_reads_what_would_be_faster(
    name: str, fast: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: fast)
    found = remark(name, "cpu")
    assert words in found
    assert bool(found) is bool(words)
