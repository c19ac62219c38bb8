"""A copy with smaller training images, and what it saves."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data.preparation.downloads import Ids, Part
from src.data.preparation.resizing import MARK, Job, carry_out, mark_copy, plan, resized_side, write
from src.data.preparation.saving import measure
from src.images.reading import open_image
from tests.refusals import refusal

TRAIN = Part(folder="train", pattern="*.jpg", count=3, archives=(), kind="images", in_copy="resized")
VAL = replace(TRAIN, folder="val", in_copy="unchanged")
LABELS = replace(TRAIN, folder="labels", pattern="*.png", kind="labels", in_copy="left out")


def save_noise(path: Path, width: int, height: int, **options: object) -> bytes:
    """An image of noise; returns the file's bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(256, size=(height, width, 3), dtype=np.uint8)).save(
        path, **options
    )
    return path.read_bytes()


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def copy(root: Path, target: Path, parts: Sequence[Part], side: int = 20) -> list[str]:
    return carry_out(plan(root, parts, target, side), workers=0)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((40, 30), (26, 20)), ((30, 40), (20, 26)), ((61, 20), (61, 20)), ((12, 16), (12, 16)), ((21, 21), (20, 20))],
)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_the_shorter_side_is_shrunk_and_never_enlarged(
    size: tuple[int, int], expected: tuple[int, int], suffix: str, tmp_path: Path
) -> None:
    source, target = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    content = save_noise(source, *size)
    assert write(Job(source, target, 20)) == ""
    with Image.open(target) as small:
        assert (small.size, small.format) == (expected, {".jpg": "JPEG", ".png": "PNG"}[suffix])
    assert (target.read_bytes() == content) == (size == expected)


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255  # sampled without a filter: all black or all white
    Image.fromarray(stripes).save(tmp_path / "a.png")
    write(Job(tmp_path / "a.png", tmp_path / "b.png", 16))
    pixels = np.asarray(open_image(tmp_path / "b.png"))
    assert pixels.shape == (16, 16, 3)
    assert 110 < pixels[:, 2:-2].min() <= pixels[:, 2:-2].max() < 145


def test_the_orientation_of_exif_is_applied(tmp_path: Path) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30] = 255  # the left half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: the left becomes the top
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif)
    write(Job(tmp_path / "a.jpg", tmp_path / "b.jpg", 20))
    with Image.open(tmp_path / "b.jpg") as small:
        assert (small.size, dict(small.getexif())) == ((20, 30), {})
        grey = np.asarray(small.convert("L"))
    assert grey[:12].min() > 240
    assert grey[-12:].max() < 15


def test_only_training_images_are_resized_and_their_labels_left_out(tmp_path: Path) -> None:
    root, target = tmp_path / "root", tmp_path / "copy"
    save_noise(root / "train" / "a.jpg", 40, 30)
    scored = save_noise(root / "val" / "b.jpg", 40, 30)
    save_noise(root / "labels" / "a.png", 40, 30)
    assert copy(root, target, (TRAIN, VAL, LABELS)) == []
    assert files(target) == {"train/a.jpg", "val/b.jpg"}
    assert (target / "val" / "b.jpg").read_bytes() == scored
    assert open_image(target / "train" / "a.jpg").size == (26, 20)


def test_what_is_scored_stays_where_it_shares_a_folder(tmp_path: Path) -> None:
    root, target = tmp_path / "root", tmp_path / "copy"
    content = {}
    for name in "abc":
        content[f"train/{name}.jpg"] = save_noise(root / "train" / f"{name}.jpg", 40, 30)
        content[f"labels/{name}.png"] = save_noise(root / "labels" / f"{name}.png", 40, 30)
    scored = Ids("list", 1, lambda root: ["b"])
    assert copy(root, target, (replace(TRAIN, scored=scored), replace(LABELS, scored=scored))) == []
    assert files(target) == {"train/a.jpg", "train/b.jpg", "train/c.jpg", "labels/b.png"}
    same = {name for name in files(target) if (target / name).read_bytes() == content[name]}
    assert same == {"train/b.jpg", "labels/b.png"}


def test_a_copy_is_taken_up_again_and_unreadable_images_are_named(tmp_path: Path) -> None:
    root, target = tmp_path / "root", tmp_path / "copy"
    for name in "abc":
        content = save_noise(root / "train" / f"{name}.jpg", 40, 30)
    (root / "train" / "b.jpg").write_bytes(content[:200])
    (target / "train").mkdir(parents=True)
    (target / "train" / "a.jpg.part").write_bytes(b"half")
    (fault,) = copy(root, target, (TRAIN,))
    assert str(root / "train" / "b.jpg") in fault
    assert files(target) == {"train/a.jpg", "train/c.jpg"}
    (target / "train" / "a.jpg").write_bytes(b"done before")
    (root / "train" / "b.jpg").write_bytes(content)
    assert copy(root, target, (TRAIN,)) == []
    assert (target / "train" / "a.jpg").read_bytes() == b"done before"
    assert open_image(target / "train" / "b.jpg").size == (26, 20)


def test_several_processes_write_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.data.preparation.processes.FEW", 2)
    for name in "abcd":
        save_noise(tmp_path / "train" / f"{name}.jpg", 40, 30)
    (tmp_path / "train" / "d.jpg").write_bytes(b"nothing")
    alone, shared = (plan(tmp_path, (TRAIN,), tmp_path / name, 20) for name in ("alone", "shared"))
    assert carry_out(alone, workers=1) == carry_out(shared, workers=2)
    assert files(tmp_path / "shared") == {"train/a.jpg", "train/b.jpg", "train/c.jpg"}
    assert (tmp_path / "alone/train/c.jpg").read_bytes() == (tmp_path / "shared/train/c.jpg").read_bytes()


def test_a_file_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    save_noise(tmp_path / "root" / "train" / "a.jpg", 40, 30)
    (tmp_path / "copy" / "train" / "a.jpg.part").mkdir(parents=True)
    refusal(lambda: copy(tmp_path / "root", tmp_path / "copy", (TRAIN,)), "can't write the copy", "a.jpg.part")


def test_the_folder_of_a_copy_says_what_it_is(tmp_path: Path) -> None:
    root, target = tmp_path / "root", tmp_path / "copy"
    root.mkdir()
    assert resized_side(root) is None
    mark_copy(root, target, 320)
    mark_copy(root, target, 320)
    assert resized_side(target) == 320
    refusal(lambda: mark_copy(root, target, 640), target, "shorter side 320", "expected 640")
    refusal(lambda: mark_copy(root, root / ".." / "root", 320), root, "expected another folder")
    (root / "something").touch()
    refusal(lambda: mark_copy(target, root, 320), root, "not empty")
    (target / MARK).write_text("[]")
    refusal(lambda: resized_side(target), target / MARK, '{"short_side": 320}')


def test_the_saving_counts_resized_images_that_are_there(tmp_path: Path) -> None:
    root, target = tmp_path / "root", tmp_path / "copy"
    before = [len(save_noise(root / "train" / f"{name}.jpg", 40, 30)) for name in "ab"]
    save_noise(root / "val" / "c.jpg", 40, 30)
    (root / "train" / "d.jpg").write_bytes(b"nothing")
    jobs = plan(root, (TRAIN, VAL), target, 20)
    refusal(lambda: measure(jobs, 20), "no training image")
    assert len(carry_out(jobs, workers=0)) == 1
    after = [(target / "train" / f"{name}.jpg").stat().st_size for name in "ab"]
    # start and end of: original a, copy a, original b, copy b, which take 6, 1, 2 and 3 seconds
    times = iter(accumulate((0.0, 6.0, 0.5, 1.0, 0.5, 2.0, 0.5, 3.0)))
    saving = measure(jobs, 20, clock=lambda: next(times))
    assert (saving.images, saving.sample) == (2, 2)
    assert saving.bytes == (sum(before), sum(after))
    assert saving.seconds == (4.0, 2.0)
    assert next(times, None) is None
