"""Potsdam-3 in IIC's layout: lists, classes, MATLAB files, and one line for every mistake."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from scipy.io import savemat

from src.data.potsdam import read_mat, scheme
from src.images.reading import UnreadableFileError
from tests.data.configured import configured
from tests.data.trees import potsdam_tree
from tests.refusals import refusal


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return potsdam_tree(tmp_path)


def test_six_values_are_three_classes_of_stuff() -> None:
    classes, class_of = scheme()
    assert [*map(tuple, classes)] == [
        *(("roads and cars", "stuff"), ("buildings and clutter", "stuff"), ("vegetation and trees", "stuff"))
    ]
    assert class_of == {0: 0, 4: 0, 1: 1, 5: 1, 2: 2, 3: 2}


def test_the_layout_is_read(root: Path) -> None:
    data = configured("potsdam", root)
    assert [Path(data.train.image_name(index)).stem for index in range(8)] == [
        *"6",
        "2",
        "11",
        "7",
        "0",
        "4",
        "9",
        "12",
    ]
    assert [Path(data.val.label_name(index)).stem for index in range(5)] == ["10", "1", "3", "8", "5"]
    assert str(data.val) == f"Potsdam-3, labelled_test of {root}"
    batches = list(data.val_dataloader())
    assert sum(len(batch["label"]) for batch in batches) == 5
    assert {value for batch in batches for value in batch["label"].unique().tolist()} == {0, 1, 2}
    assert len(data.train_dataloader()) == 2


def test_images_are_the_first_three_channels_and_labels_are_mapped(root: Path) -> None:
    val = configured("potsdam", root).val
    pixels = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    savemat(val.image_name(0), {"img": pixels})
    for dtype in (np.int32, np.uint8):
        savemat(val.label_name(0), {"gt": np.array([[0, 1, 2], [3, 4, 5]], dtype=dtype)})
        assert np.asarray(val.label(0)).tolist() == [[0, 1, 2], [2, 0, 1]]
    assert val.image(0).mode == "RGB"
    assert np.asarray(val.image(0)).tolist() == [
        [[0, 1, 2], [4, 5, 6], [8, 9, 10]],
        [[12, 13, 14], [16, 17, 18], [20, 21, 22]],
    ]
    assert val.label(0).size == val.image(0).size


def test_lists_may_have_windows_line_ends(root: Path) -> None:
    (root / "labelled_test.txt").write_bytes(b"\xef\xbb\xbf10\r\n\r\n1\r\n")
    data = configured("potsdam", root)
    assert [Path(data.val.image_name(index)).stem for index in range(len(data.val))] == ["10", "1"]


def test_training_needs_no_labels(root: Path) -> None:
    for number in (0, 4, 9, 12):
        (root / "gt" / f"{number}.mat").unlink()
    data = configured("potsdam", root)
    assert sorted(index for batch in data.train_dataloader() for index in batch["index"].tolist()) == list(range(8))


@pytest.mark.filterwarnings("default")
def test_a_list_that_is_trained_on_and_scored(root: Path) -> None:
    with pytest.warns(UserWarning, match="images both trained on and scored: 5, such as 1;"):
        configured("potsdam", root, "data.train_lists=[labelled_train,labelled_test]").setup("fit")


def test_missing_files(root: Path) -> None:
    (root / "gt" / "3.mat").unlink()
    refusal(lambda: configured("potsdam", root), "1 of 5 label files", root / "gt" / "3.mat", "gt/ID.mat")
    (root / "imgs" / "1.mat").unlink()
    refusal(lambda: configured("potsdam", root), "1 of 5 listed images", root / "imgs" / "1.mat", "imgs/ID.mat")
    (root / "labelled_test.txt").unlink()
    refusal(lambda: configured("potsdam", root), "lists are missing", root / "labelled_test.txt", "xu-ji/IIC")
    shutil.rmtree(root)
    refusal(lambda: configured("potsdam", root), root, "not a folder", "labelled_test.txt", "data.root=DIR")


def test_one_word_is_no_list(root: Path) -> None:
    override = "data.train_lists=labelled_train"
    refusal(lambda: configured("potsdam", root, override), "data.train_lists=[labelled_train]")


def compressed(path: Path) -> bytes:
    savemat(path, {"img": np.arange(40000, dtype=np.uint8)}, do_compression=True)
    return path.read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"not a MATLAB file, but long enough for a header that says which version it is of, " * 3,
        lambda content: content[:-30],
        lambda content: content[:140],
        lambda content: content[:124] + b"\x00\x02" + content[126:],  # version 7.3, which is HDF5
        lambda content: content[:200] + bytes(40) + content[240:],
        lambda content: content[:128] + b"\xff" * 8 + content[136:],
    ],
)
def test_broken_files_are_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "1.mat"
    content = compressed(path)
    assert read_mat(path, "img").shape == (1, 40000)
    path.write_bytes(damage(content))
    with pytest.raises(UnreadableFileError) as caught:
        read_mat(path, "img")
    assert str(caught.value).startswith(f"can't read {path} (")
    assert "\n" not in str(caught.value)


def test_an_array_that_scipy_only_warns_of_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.data.potsdam.loadmat", lambda path: {"img": "Read error: buffer is too small"})
    (tmp_path / "1.mat").touch()
    with pytest.raises(UnreadableFileError, match=r"1.mat \(Read error: buffer is too small\)"):
        read_mat(tmp_path / "1.mat", "img")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"image": np.zeros((4, 4, 4), np.uint8)}, "holds ['image']: expected an array 'img'"),
        ({"img": np.zeros((4, 4, 3), np.uint8)}, "holds uint8, 4 x 4 x 3: expected 8 bit"),
        ({"img": np.zeros((4, 4), np.uint8)}, "holds uint8, 4 x 4: expected 8 bit"),
        ({"img": np.zeros((4, 4, 4))}, "holds float64, 4 x 4 x 4: expected 8 bit"),
        ({"img": scipy.sparse.csc_array((4, 4))}, "expected 8 bit"),
    ],
)
def test_other_images_are_refused(root: Path, content: dict[str, Any], expected: str) -> None:
    val = configured("potsdam", root).val
    savemat(val.image_name(0), content)
    refusal(lambda: val.image(0), val.image_name(0), expected)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (np.array([[0, 6], [5, 255]], np.uint8), "hold [6, 255]: expected 0 to 5"),
        (np.array([[0, -1], [256, 5]], np.int32), "hold [-1, 256]: expected 0 to 5"),
        (np.zeros((2, 2)), "hold float64, 2 x 2: expected integers"),
        (np.zeros((2, 2, 2), np.uint8), "hold uint8, 2 x 2 x 2: expected integers, height x width"),
    ],
)
def test_other_labels_are_refused(root: Path, label: np.ndarray, expected: str) -> None:
    val = configured("potsdam", root).val
    savemat(val.label_name(0), {"gt": label})
    refusal(lambda: val.label(0), val.label_name(0), expected)
