"""Packed paths, in memory and mapped from an index."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from src.data.file_list import FileList, read_index, reopen, write_index
from tests.refusals import refusal

ROOT = Path("pictures")
NAMES = ["a.jpg", "ä/b c.png", os.fsdecode(b"caf\xe9.jpg"), "line\nend.jpg", "z" * 200]
Make = Callable[[list[str]], FileList]


@pytest.fixture(params=["in memory", "mapped"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Packs names as `list_images` does without a cache and with one."""

    def pack(names: list[str]) -> FileList:
        files = FileList.from_names(ROOT, names)
        return files if request.param == "in memory" else write_index(tmp_path / "cache" / "one.index", files, None)

    return pack


def test_every_name_comes_back_as_a_path(make: Make) -> None:
    files = make(NAMES)
    assert list(files) == [ROOT / name for name in NAMES]
    assert len(files) == 5
    assert os.fsencode(files[2]) == b"pictures/caf\xe9.jpg"


def test_it_is_indexed_like_a_list(make: Make) -> None:
    files, paths = make(NAMES), [ROOT / name for name in NAMES]
    for index in (-5, -1, 0, 4, np.int64(3)):
        assert files[index] == paths[index]
    for index in (-6, 5):
        with pytest.raises(IndexError, match=f"file {index} of 5"):
            files[index]


def test_memory_is_the_bytes_of_the_names_and_eight_for_each(make: Make) -> None:
    files = make([f"{index:07}.jpg" for index in range(1000)])
    assert (files.names.nbytes, files.ends.nbytes) == (11_000, 8_000)


def test_a_pickle_holds_the_same_paths(make: Make) -> None:
    files = make(NAMES)
    again = pickle.loads(pickle.dumps(files))
    assert list(again) == list(files)
    assert again.index == files.index


def test_a_pickle_of_a_mapped_list_does_not_grow(tmp_path: Path) -> None:
    names = [f"{index:07}.jpg" for index in range(10_000)]
    files = write_index(tmp_path / "one.index", FileList.from_names(ROOT, names), None)
    assert len(pickle.dumps(files)) < 1000
    assert not files.names.flags.owndata
    assert not files.names.flags.writeable


def test_an_index_keeps_the_list_and_what_was_said_about_it(tmp_path: Path) -> None:
    index, about = tmp_path / "deep" / "cache" / "one.index", {"folder": os.fsdecode(b"caf\xe9"), "stamp": 2**62}
    write_index(index, FileList.from_names(ROOT, NAMES), about)
    found = read_index(index, Path("elsewhere"))
    assert found is not None
    assert list(found[0]) == [Path("elsewhere") / name for name in NAMES]
    assert found[1] == about
    assert list(index.parent.iterdir()) == [index]


def flipped(whole: bytes) -> bytes:
    return whole.replace(b"a.jpg", b"a.jpq")


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "first line cut": lambda whole: whole[:10],
    "names cut": lambda whole: whole[:-100],
    "last byte cut": lambda whole: whole[:-1],
    "another name": flipped,
    "zeros": lambda whole: bytes(len(whole)),
    "another kind of file": lambda whole: b'["some", "JSON"]\n',
    "another dict": lambda whole: b'{"files": 3}\n',
    "no numbers": lambda whole: b'{"files": "a", "bytes": null, "checksum": 3}\n',
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_none(damage: str, tmp_path: Path) -> None:
    index = tmp_path / "one.index"
    write_index(index, FileList.from_names(ROOT, NAMES), {"stamps": {}})
    assert read_index(index, ROOT) is not None
    index.write_bytes(DAMAGES[damage](index.read_bytes()))
    assert read_index(index, ROOT) is None


def test_no_index_is_none(tmp_path: Path) -> None:
    assert read_index(tmp_path / "one.index", ROOT) is None
    assert read_index(tmp_path, ROOT) is None


def test_a_worker_that_finds_another_index_refuses_it(tmp_path: Path) -> None:
    index = tmp_path / "one.index"
    sent = pickle.dumps(write_index(index, FileList.from_names(ROOT, NAMES), None))
    write_index(index, FileList.from_names(ROOT, NAMES), "the same names")
    assert len(pickle.loads(sent)) == 5
    write_index(index, FileList.from_names(ROOT, NAMES[1:]), None)
    refusal(lambda: pickle.loads(sent), index, "it changed", "below pictures", "start again")
    index.unlink()
    refusal(lambda: pickle.loads(sent), index, "No such file", "start again")


def test_a_list_stays_whole_while_its_index_is_replaced(tmp_path: Path) -> None:
    index = tmp_path / "one.index"
    files = write_index(index, FileList.from_names(ROOT, NAMES), None)
    write_index(index, FileList.from_names(ROOT, ["other.jpg"]), None)
    assert list(files) == [ROOT / name for name in NAMES]


def test_nothing_is_left_of_an_index_that_could_not_be_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_index(tmp_path / "one.index", FileList.from_names(ROOT, NAMES), None)
    assert list(tmp_path.iterdir()) == []


def test_reopening_needs_the_checksum(tmp_path: Path) -> None:
    files = write_index(tmp_path / "one.index", FileList.from_names(ROOT, NAMES), None)
    assert list(reopen(ROOT, tmp_path / "one.index", files.checksum())) == list(files)
    refusal(lambda: reopen(ROOT, tmp_path / "one.index", files.checksum() ^ 1), "it changed")
