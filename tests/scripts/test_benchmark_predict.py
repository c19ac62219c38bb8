"""`scripts/benchmark_predict.py` measures both in turn on a few images."""

import re
import sys
from pathlib import Path

import pytest

from scripts.benchmark_predict import main
from src.api import train
from tests.composing import TINY_EPOCHS
from tests.factories import noise_image


def test_both_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(*TINY_EPOCHS, "trainer.max_epochs=1", "protocol.resamples=10", output=tmp_path / "run")
    for place in range(3):
        noise_image(40, 30 + place, place).save(tmp_path / f"{place}.png")
    checkpoint = str(run.folder / "checkpoints" / "last.ckpt")
    options = ["--rounds", "2", "--num-threads", "1"]
    monkeypatch.setattr(sys, "argv", ["benchmark_predict.py", checkpoint, f"{tmp_path}/*.png", *options])
    capsys.readouterr()
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("3 images, side 64")
    assert all(re.search(r": \d+\.\d+ \d+\.\d+ \d+\.\d+ \(minimum", line) for line in lines[1:])
    assert len(lines) == 4
