"""Images that can't be read, in a whole run: stopped at, or counted and named after every epoch."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from src.assembly.train import train
from tests.composing import composed
from tests.refusals import refusal


def overrides(root: Path, *more: str) -> list[str]:
    tiny = [
        "experiment=camvid_seg",
        "debug=tiny",
        "trainer.fast_dev_run=false",
        "trainer.max_epochs=2",
        "references=none",
    ]
    return [*tiny, f"data.root={root}", "data.batch_size=2", "estimate_steps=0", "model.num_categories=3", *more]


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:200])
    return path


def test_skipped_images_are_counted_and_named_after_every_epoch(labelled_root: Path, tmp_path: Path) -> None:
    trained, scored = cut(labelled_root / "images/train/scene0.png"), cut(labelled_root / "images/val/scene7.png")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(composed(tmp_path, *overrides(labelled_root, "data.on_corrupt=skip", "data.num_workers=1")))
    said = [str(warning.message) for warning in caught if "can't read the image" in str(warning.message)]
    assert [message.partition(";")[0] for message in said] == [
        "step 0: 1 image(s) left out of the scores",  # before training
        "step 3: 1 image(s) left out of the scores",
        "epoch 0: 1 training image(s) replaced by others",
        "step 6: 1 image(s) left out of the scores",
        "epoch 1: 1 training image(s) replaced by others",
        "step 6: 1 image(s) left out of the scores",  # after training
    ]
    assert all(str(trained if "epoch" in message else scored) in message for message in said)
    lines = (tmp_path / "unreadable.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 6
    assert sum(str(trained) in line for line in lines) == 2
    header, *rows = (tmp_path / "csv" / "metrics.csv").read_text().splitlines()
    column = header.split(",").index("unreadable_images")
    assert [row.split(",")[column] for row in rows if row.split(",")[column]] == ["1.0", "1.0"]


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_run_stops_at_the_image_by_default(split: str, num_workers: int, labelled_root: Path, tmp_path: Path) -> None:
    broken = cut(labelled_root / "images" / split / ("scene0.png" if split == "train" else "scene7.png"))
    config = composed(tmp_path, *overrides(labelled_root, f"data.num_workers={num_workers}"))
    refusal(lambda: train(config), f"can't read the image {broken}", "replace or remove")


def test_nothing_is_written_when_all_can_be_read(labelled_root: Path, tmp_path: Path) -> None:
    train(composed(tmp_path, *overrides(labelled_root, "data.on_corrupt=skip")))
    assert not (tmp_path / "unreadable.txt").exists()


@pytest.mark.slow
def test_two_processes_name_the_images_of_both(labelled_root: Path, tmp_path: Path) -> None:
    names = [cut(labelled_root / "images/train" / name) for name in ("scene0.png", "scene1.png", "scene3.png")]
    arguments = [*overrides(labelled_root, "data.on_corrupt=skip", "trainer=ddp_cpu", "trainer.max_epochs=1")]
    run = subprocess.run(
        [sys.executable, "-m", "src.train", *arguments, f"hydra.run.dir={tmp_path}"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    lines = (tmp_path / "unreadable.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3
    for line, name in zip(lines, names, strict=True):
        assert line.startswith("epoch 0: 3 training image(s) replaced by others")
        assert str(name) in line
