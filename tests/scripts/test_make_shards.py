"""`scripts/make_shards.py`: complete shards or none, and never a mixture."""

import os
import pickle
from pathlib import Path

import pytest

from scripts.make_shards import main
from src.data.preparation import sharding
from src.data.shards import ShardImages, read_shards
from tests.factories import noise_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images, the fourth of them in a folder."""
    root = tmp_path / "images"
    (root / "n01").mkdir(parents=True)
    for number in range(5):
        noise_image(16, 16, seed=number).save(root / ("n01" if number == 3 else "") / f"{number}.jpg")
    return root


def make(folder: Path, *more: str) -> int:
    return main([str(folder), str(folder.parent / "shards"), "--per-shard", "2", "--workers", "1", *more])


def names(folder: Path) -> list[str]:
    images = ShardImages(read_shards(folder.parent / "shards"))
    return [os.path.basename(images.image_name(index)) for index in range(len(images))]


def test_it_says_what_it_wrote(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make(folder) == 0
    target = folder.parent / "shards"
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"{target}: 5 images in 3 shards, ")
    assert said[1] == f"train on them with data=shards data.root={target}"
    assert names(folder) == ["0.jpg", "1.jpg", "2.jpg", "4.jpg", "3.jpg"]
    assert len(list(target.iterdir())) == 3 * 2 + 1


def test_a_list_chooses_and_orders(folder: Path) -> None:
    chosen = folder.parent / "list.txt"
    chosen.write_text("n01/3.jpg\n0.jpg\n")
    assert make(folder, "--list", str(chosen)) == 0
    assert names(folder) == ["3.jpg", "0.jpg"]


def test_finished_shards_are_not_written_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(folder)
    before = (folder.parent / "shards" / "images-000000.tar").stat().st_mtime_ns
    assert make(folder) == 1
    assert "holds finished shards" in capsys.readouterr().err
    assert (folder.parent / "shards" / "images-000000.tar").stat().st_mtime_ns == before


def test_a_folder_with_other_files_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder.parent / "shards").mkdir()
    (folder.parent / "shards" / "mine.txt").touch()
    assert make(folder) == 1
    assert "is not empty: expected a new folder" in capsys.readouterr().err


def interrupt(monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """Press Ctrl-C while an image is read."""
    original = sharding.readable

    def readable(path: Path) -> bytes:
        if path.name == at:
            raise KeyboardInterrupt
        return original(path)

    monkeypatch.setattr(sharding, "readable", readable)


def test_an_interrupted_command_continues(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched:
        interrupt(patched, "4.jpg")
        assert make(folder) == 1
    assert "give the same command again" in capsys.readouterr().err
    target = folder.parent / "shards"
    assert sorted(path.name for path in target.iterdir()) == ["images-000000.index", "images-000000.tar", "making.json"]
    first = (target / "images-000000.tar").stat().st_mtime_ns
    assert make(folder) == 0
    assert (target / "images-000000.tar").stat().st_mtime_ns == first
    assert len(names(folder)) == 5


def test_unfinished_shards_are_not_mixed_with_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched:
        interrupt(patched, "4.jpg")
        make(folder)
    noise_image(16, 16).save(folder / "5.jpg")
    assert make(folder) == 1
    assert "holds unfinished shards of other images" in capsys.readouterr().err
    (folder / "5.jpg").unlink()
    assert make(folder, "--per-shard", "3") == 1
    assert make(folder) == 0


def test_unreadable_images_are_named_replaced_or_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = (folder / "2.jpg").read_bytes()
    (folder / "2.jpg").write_bytes(good[:200])
    (folder / "4.jpg").write_bytes(b"")
    assert make(folder) == 1
    said = capsys.readouterr().out
    assert str(folder / "2.jpg") in said
    assert "2 images can't be read, the shards are unfinished" in said
    (folder / "2.jpg").write_bytes(good)
    assert make(folder) == 1
    assert make(folder, "--skip-unreadable") == 0
    assert "4 images in 3 shards" in capsys.readouterr().out
    assert names(folder) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]


@pytest.mark.parametrize(
    ("broken", "left"),
    [(("3.jpg",), ["0.jpg", "1.jpg", "2.jpg", "4.jpg"]), (("0.jpg", "1.jpg"), ["2.jpg", "4.jpg", "3.jpg"])],
)
def test_a_shard_without_readable_images_is_left_out(
    broken: tuple[str, ...], left: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in broken:
        (folder / ("n01" if name == "3.jpg" else "") / name).write_bytes(b"")
    assert make(folder, "--skip-unreadable") == 0
    said = capsys.readouterr().out
    assert f"{len(left)} images in 2 shards" in said
    assert f"{len(broken)} images can't be read and are left out" in said
    assert names(folder) == left


def test_no_readable_image_at_all_is_an_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in folder.rglob("*.jpg"):
        path.write_bytes(b"")
    assert make(folder, "--skip-unreadable") == 1
    assert "none of 5 images can be read" in capsys.readouterr().err


def skipping_is_interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A call with --skip-unreadable writes a shard without 1.jpg and is interrupted; returns what 1.jpg was before."""
    good = (folder / "1.jpg").read_bytes()
    (folder / "1.jpg").write_bytes(b"")
    with monkeypatch.context() as patched:
        interrupt(patched, "4.jpg")
        assert make(folder, "--skip-unreadable") == 1
    assert (folder.parent / "shards" / "images-000000.index").exists()
    return good


def test_what_an_interrupted_call_left_out_is_said_by_the_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    skipping_is_interrupted(folder, monkeypatch)
    first = (folder.parent / "shards" / "images-000000.tar").stat().st_mtime_ns
    assert make(folder, "--skip-unreadable") == 0
    said = capsys.readouterr().out
    assert f"{folder / '1.jpg'} could not be read before" in said
    assert "4 images in 3 shards" in said
    assert "1 images can't be read and are left out" in said
    assert (folder.parent / "shards" / "images-000000.tar").stat().st_mtime_ns == first


def test_shards_that_lack_images_are_not_complete_without_skipping(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = skipping_is_interrupted(folder, monkeypatch)
    assert make(folder) == 1
    assert "1 images can't be read, the shards are unfinished" in capsys.readouterr().out
    (folder / "1.jpg").write_bytes(good)
    assert make(folder) == 0
    assert names(folder) == ["0.jpg", "1.jpg", "2.jpg", "4.jpg", "3.jpg"]


def test_a_full_disk_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sharding, "write_shard", full)
    assert make(folder) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_counts_are_checked(folder: Path) -> None:
    with pytest.raises(SystemExit):
        make(folder, "--per-shard", "0")


def test_what_another_process_needs_can_be_sent_to_it(folder: Path) -> None:
    make(folder)
    target = folder.parent / "again"
    target.mkdir()
    job = sharding.Job(folder, ("0.jpg", "1.jpg"), target, 0, skip=False)
    write, sent = pickle.loads(pickle.dumps((sharding.write_shard, job)))
    assert write(sent) == []
    for name in ("images-000000.tar", "images-000000.index"):
        assert (target / name).read_bytes() == (folder.parent / "shards" / name).read_bytes()
