"""`src.predict`: what it writes for good and for broken files, what it skips, and what it refuses."""

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from src.api import Trained, train
from src.assembly.predict import predict
from src.drawing.colours import index_image
from src.prediction.map_results import LabelMap, MapResults
from tests.composing import CONF, TINY_EPOCHS
from tests.factories import noise_image
from tests.refusals import refusal


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    values = (*TINY_EPOCHS, "trainer.max_epochs=1", "protocol.resamples=10")
    return train(*values, output=tmp_path_factory.mktemp("run"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Good images: of several sizes and kinds, one with a strange name, two whose stems are the same."""
    folder = tmp_path / "my photos"
    (folder / "Größe 1").mkdir(parents=True)
    noise_image(48, 40, 1).save(folder / "a.jpg")
    noise_image(48, 40, 2).save(folder / "a.png")
    noise_image(40, 60, 3).convert("L").save(folder / "Größe 1" / "=1+1 ü.webp")
    return folder


Predict = Any


@pytest.fixture
def command(run: Trained, photos: Path, tmp_path: Path) -> Predict:
    """Runs the command on the photos with these values; returns the number of failures."""

    def call(*values: str) -> int:
        fixed = [f"ckpt_path='{run.folder}/checkpoints/last.ckpt'", "num_threads=1"]
        fixed += [f"{key}='{path}'" for key, path in (("input", photos), ("output", tmp_path / "out"))]
        given = [value for value in fixed if value.partition("=")[0] not in {one.partition("=")[0] for one in values}]
        return predict(composed(*given, *values))

    return call


def composed(*values: str) -> Any:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("predict", list(values))


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_every_image_gets_a_map_and_an_overlay(command: Predict, run: Trained, photos: Path, tmp_path: Path) -> None:
    assert command() == 0
    names = ["Größe 1/=1+1 ü.png", "a.jpg.png", "a.png.png"]
    shown = [f"{kind}/{name}" for kind in ("clusters", "overlays") for name in names]
    assert files(tmp_path / "out") == sorted([*shown, "legend.png", "predict.json", "summary.csv"])
    segmenter = run.load()
    with Image.open(tmp_path / "out" / "clusters" / "Größe 1" / "=1+1 ü.png") as found:
        assert found.mode == "P"
        assert np.array_equal(found, segmenter.predict(photos / "Größe 1" / "=1+1 ü.webp"))
        assert np.array_equal(np.reshape(found.getpalette(), (-1, 3))[:8], segmenter.palette)
    with Image.open(tmp_path / "out" / "overlays" / "a.png.png") as found:
        assert (found.mode, found.size) == ("RGB", (48, 40))


def test_the_summary_has_the_shares(command: Predict, run: Trained, tmp_path: Path) -> None:
    command("overlays=false")
    with (tmp_path / "out" / "summary.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["Größe 1/=1+1 ü.webp", "a.jpg", "a.png"]
    heads = [f"{place} {name}" for place, name in enumerate(run.load().names)]
    for row in rows:
        assert sum(float(row[head]) for head in heads) == pytest.approx(1, abs=1e-3)
    with Image.open(tmp_path / "out" / "clusters" / "a.png.png") as found:
        assert float(rows[2][heads[3]]) == pytest.approx((np.asarray(found) == 3).mean(), abs=1e-4)
    assert not (tmp_path / "out" / "overlays").exists()


def test_a_name_is_not_a_formula(command: Predict, photos: Path, tmp_path: Path) -> None:
    (photos / "Größe 1" / "=1+1 ü.webp").rename(photos / "=1+1.webp")
    command("overlays=false")
    assert "\n./=1+1.webp," in (tmp_path / "out" / "summary.csv").read_text(encoding="utf-8").replace("\r", "")


def test_arrays(command: Predict, tmp_path: Path) -> None:
    command("probabilities=true", "features=true", "overlays=false", "head=aux", "flip=true")
    with np.load(tmp_path / "out" / "arrays" / "a.png.npz") as arrays:
        probabilities, features = arrays["probabilities"], arrays["features"]
        assert len(arrays["names"]) == len(probabilities)
    assert probabilities.shape[1:] == features.shape[1:]
    assert probabilities.astype(float).sum(0) == pytest.approx(1, abs=0.01)


def test_results_are_skipped_or_redone(command: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command()
    paths = [tmp_path / "out" / "clusters" / name for name in ("a.jpg.png", "a.png.png")]
    summary = (tmp_path / "out" / "summary.csv").read_text(encoding="utf-8")
    index_image(np.zeros((40, 48), np.uint8), np.zeros((8, 3), np.uint8)).save(paths[0])
    (tmp_path / "out" / "overlays" / "a.png.png").unlink()
    paths[1].write_bytes(b"old")
    capsys.readouterr()
    assert command() == 0
    assert "1 image in" in capsys.readouterr().out
    with Image.open(paths[0]) as kept, Image.open(paths[1]) as redone:
        assert not np.asarray(kept).any()
        assert redone.size == (48, 40)
    assert command("overwrite=true") == 0
    assert (tmp_path / "out" / "summary.csv").read_text(encoding="utf-8") == summary
    refusal(lambda: command("side=48"), "other settings", "overwrite=true")
    assert command("side=48", "overwrite=true") == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_broken_files_are_named_and_the_others_are_predicted(
    command: Predict, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], threads: int
) -> None:
    whole = (photos / "a.jpg").read_bytes()
    (photos / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "empty.png").touch()
    (photos / "text.jpg").write_text("no image")
    Image.new("RGB", (5000, 8)).save(photos / "wide.png")
    Image.new("RGB", (1, 1)).save(photos / "dot.png")
    os.mkfifo(photos / "pipe.jpg")
    (photos / "lost.jpg").symlink_to("nowhere")
    broken = {"cut.jpg", "empty.png", "text.jpg", "wide.png", "dot.png", "pipe.jpg", "lost.jpg"}
    assert command(f"num_threads={threads}") == len(broken)
    assert len(files(tmp_path / "out" / "clusters")) == 3
    listed = (tmp_path / "out" / "failed.txt").read_text(encoding="utf-8").splitlines()
    assert {line.partition("\t")[0] for line in listed} == broken
    printed = capsys.readouterr().out
    assert "7 images could not be predicted" in printed
    assert all(name in printed for name in broken)
    for name in broken:
        (photos / name).unlink()
    assert command() == 0
    assert not (tmp_path / "out" / "failed.txt").exists()


def test_one_image_and_a_pattern(command: Predict, photos: Path, tmp_path: Path) -> None:
    assert command(f"input='{photos}/a.png'", f"output='{tmp_path}/one'") == 0
    assert files(tmp_path / "one" / "clusters") == ["a.png"]
    assert command(f"input='{photos}/*.jpg'", f"output='{tmp_path}/some'") == 0
    assert files(tmp_path / "some" / "clusters") == ["a.png"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("head=third", "head"),
        ("side=huge", "side"),
        ("batch_size=0", "batch_size"),
        ("num_threads=0", "num_threads"),
        ("device=tpu", "device"),
        ("flip=3", "flip"),
        ("overwrite=3", "overwrite"),
        ("input=absent", "there is no absent"),
        ("window=0", "window"),
        ("overlap=1", "overlap"),
    ],
)
def test_values_are_checked(command: Predict, value: str, message: str) -> None:
    refusal(lambda: command(value), message)


def test_an_output_that_cannot_be_written(command: Predict, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refusal(lambda: command(f"output='{tmp_path}/file'"), "is a file: expected a folder")


def test_memory_does_not_grow_with_the_number_of_images(
    command: Predict, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Label maps that are not written yet are counted: never more than those of a batch for each thread."""
    alive, most = set(), [0]
    made, write = LabelMap.__new__, MapResults.write

    def counted(cls: Any, *values: Any) -> Any:
        alive.add(id(values[1]))
        most[0] = max(most[0], len(alive))
        return made(cls, *values)

    def written(self: MapResults, name: str, result: LabelMap) -> Any:
        row = write(self, name, result)
        alive.discard(id(result.clusters))
        return row

    monkeypatch.setattr(LabelMap, "__new__", counted)
    monkeypatch.setattr(MapResults, "write", written)
    for place in range(30):
        noise_image(16, 16, place).save(photos / f"{place}.png")
    command("batch_size=2", "num_threads=3")
    assert 0 < most[0] <= 3 * 2


def test_results_of_other_images_are_not_taken_for_these(command: Predict, photos: Path, tmp_path: Path) -> None:
    command()
    other = tmp_path / "others"
    other.mkdir()
    noise_image(48, 40, 9).save(other / "a.png")
    refusal(lambda: command(f"input='{other}'"), "results of other images")


def test_a_changed_image_is_predicted_again(command: Predict, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command()
    noise_image(48, 40, 9).save(photos / "new.png")
    os.utime(photos / "new.png", (0, 0))  # a copy may keep an old time
    (photos / "new.png").replace(photos / "a.png")
    command()
    assert "1 image in" in capsys.readouterr().out


def test_results_that_are_older_than_the_record_are_predicted_again(
    command: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`overwrite=true` with other settings, interrupted: what the first settings left is not taken over later."""
    command()
    with monkeypatch.context() as patched:
        patched.setattr("src.assembly.predict.predict_files", interrupted)
        with pytest.raises(KeyboardInterrupt):
            command("side=48", "overwrite=true")
    capsys.readouterr()
    command("side=48")
    assert "3 images in" in capsys.readouterr().out


def interrupted(*_: Any) -> Any:
    raise KeyboardInterrupt


def test_a_damaged_result_is_predicted_again(
    command: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("overlays=false")
    (tmp_path / "out" / "clusters" / "a.png.png").write_bytes(b"damaged")
    capsys.readouterr()
    assert command("overlays=false") == 0
    assert "1 image in" in capsys.readouterr().out


def test_strange_names(command: Predict, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not UTF-8, with a control code, too long for a result, and a folder in the place of a result."""
    image = (photos / "a.png").read_bytes()
    (photos / os.fsdecode(b"gr\xfcn.png")).write_bytes(image)
    (photos / "x\x1b[31m\n.png").write_text("no image")
    long = f"{'l' * 250}.png"
    (photos / long).write_bytes(image)
    (photos / "f.png").mkdir()
    (photos / "f.png" / "inner.jpg").write_bytes(image)
    (photos / "f.jpg").write_bytes(image)
    assert command("overlays=false") in (2, 3)  # the folder or the file of that name is written first
    assert "gr\\udcfcn.png" in (tmp_path / "out" / "summary.csv").read_text(encoding="utf-8")
    listed = (tmp_path / "out" / "failed.txt").read_text(encoding="utf-8").splitlines()
    assert all(line.isprintable() for text in listed for line in text.split("\t"))
    assert any(line.startswith(long) for line in listed)
    assert "\x1b" not in capsys.readouterr().out


def test_a_link_in_place_of_a_part_is_not_followed(command: Predict, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "victim").write_text("kept")
    (tmp_path / "out" / "summary.csv.part").symlink_to(tmp_path / "victim")
    assert command() == 0
    assert (tmp_path / "victim").read_text() == "kept"


def test_only_broken_files(command: Predict, photos: Path, tmp_path: Path) -> None:
    (photos / "text.jpg").write_text("no image")
    assert command(f"input='{photos}/text.jpg'") == 1
    assert files(tmp_path / "out") == ["failed.txt", "legend.png", "predict.json", "summary.csv"]
