"""Scenes from the cache are the scenes that are drawn, whatever happens to the files."""

from pathlib import Path

import numpy as np
import pytest

from src.data import drawn_scenes as module
from src.data.drawn_scenes import cache_folder, drawn_scenes, key_of
from src.data.scenes import render


def same(found: tuple[np.ndarray, np.ndarray], count: int = 3) -> None:
    for index in range(count):
        image, label = render(1, index, 16)
        np.testing.assert_array_equal(found[0][index], image)
        np.testing.assert_array_equal(found[1][index], label)


def test_a_second_run_draws_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    same(drawn_scenes(1, 3, 16, tmp_path / "new" / "folder"))
    monkeypatch.setattr(module, "render", lambda *_: pytest.fail("drawn again"))
    same(drawn_scenes(1, 3, 16, tmp_path / "new" / "folder"))
    with pytest.raises(pytest.fail.Exception, match="drawn again"):
        drawn_scenes(1, 3, 16, None)


@pytest.mark.parametrize("damage", ["empty", "half", "flipped", "pickle", "other shape"])
def test_a_damaged_file_is_drawn_anew(damage: str, tmp_path: Path) -> None:
    drawn_scenes(1, 3, 16, tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    if damage == "flipped":
        place = len(whole) // 3
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    elif damage == "pickle":
        np.savez(path, images=np.array([{}], dtype=object), labels=np.zeros(3))
    elif damage == "other shape":
        np.savez(path, images=np.zeros((2, 16, 16, 3), np.uint8), labels=np.zeros((2, 16, 16), np.uint8))
    else:
        path.write_bytes(whole[: len(whole) // 2 if damage == "half" else 0])
    same(drawn_scenes(1, 3, 16, tmp_path))
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    same(drawn_scenes(1, 3, 16, tmp_path / "file" / "folder"))
    assert (tmp_path / "file").read_text() == "in the way"


def test_what_the_pixels_follow_from_has_a_file_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [key_of(*arguments) for arguments in ((1, 3, 16), (2, 3, 16), (1, 4, 16), (1, 3, 17))]
    monkeypatch.setattr(np, "__version__", "another")
    assert len({*names, key_of(1, 3, 16)}) == 5


def test_the_folder_is_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "densesiam"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().parts[-2:] == (".cache", "densesiam")
