"""`benchmarks.predicting` measures both in turn on a few images."""

from pathlib import Path

import pytest

from benchmarks.predicting import main
from src.api import train
from tests.composing import TINY_EPOCHS
from tests.factories import noise_image


def test_both_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(*TINY_EPOCHS, "trainer.max_epochs=1", "protocol.resamples=10", output=tmp_path / "run")
    for place in range(3):
        noise_image(40, 30 + place, place).save(tmp_path / f"{place}.png")
    checkpoint = str(run.folder / "checkpoints" / "last.ckpt")
    capsys.readouterr()
    main(["--checkpoint", checkpoint, "--folder", f"{tmp_path}/*.png", "--rounds", "2", "--num-threads", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:4]] == ["| network alone", "| src.predict"]
    assert lines[-1].startswith("3 images, side 64, batches of 4, 1 threads in src.predict")
