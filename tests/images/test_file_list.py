"""Packed paths."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from src.images.file_list import FileList

ROOT = Path("pictures")
NAMES = ["a.jpg", "ä/b c.png", os.fsdecode(b"caf\xe9.jpg"), "line\nend.jpg", "z" * 200]


def test_every_name_comes_back_as_a_path() -> None:
    files = FileList.from_names(ROOT, NAMES)
    assert list(files) == [ROOT / name for name in NAMES]
    assert len(files) == 5
    assert os.fsencode(files[2]) == b"pictures/caf\xe9.jpg"


def test_it_is_indexed_like_a_list() -> None:
    files, paths = FileList.from_names(ROOT, NAMES), [ROOT / name for name in NAMES]
    for index in (-5, -1, 0, 4, np.int64(3)):
        assert files[index] == paths[index]
    for index in (-6, 5):
        with pytest.raises(IndexError, match=f"file {index} of 5"):
            files[index]


def test_memory_is_the_bytes_of_the_names_and_eight_for_each() -> None:
    files = FileList.from_names(ROOT, [f"{index:07}.jpg" for index in range(1000)])
    assert (files.names.nbytes, files.ends.nbytes) == (11_000, 8_000)


def test_a_pickle_holds_the_same_paths() -> None:
    files = FileList.from_names(ROOT, NAMES)
    again = pickle.loads(pickle.dumps(files))
    assert list(again) == list(files)
