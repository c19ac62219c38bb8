"""Classes that never occur in the labels: named before training, and beside the score."""

import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from src.data import occurrence
from src.data.datamodule import ImageData
from src.data.occurrence import warn_of_absent_classes
from src.data.probe_data import labelled_folder
from src.metrics import Category
from tests.data.arrays import Arrays, flat
from tests.factories import VIEWS, paper
from tests.factories import labelled_data as folder
from tests.refusals import refusal

TWO = (Category("background", "stuff"), Category("cell", "thing"))
THREE = (*TWO, Category("dust", "stuff"))


def labels(*values: list[int]) -> Arrays:
    """Label maps, one of each list of values."""
    maps = [np.resize(np.uint8(each), (20, 20)) for each in values]
    return Arrays(flat(len(maps)), maps)


def said(images: Arrays, classes: tuple[Category, ...]) -> list[str]:
    return warned(lambda: warn_of_absent_classes(images, classes))


def warned(action: Callable[[], object]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        action()
    assert all("\n" not in str(warning.message) for warning in caught)
    return [str(warning.message) for warning in caught]


def test_a_mask_of_0_and_255() -> None:
    assert said(labels([0, 255], [0, 0, 0, 255]), TWO) == [
        "1 of 2 classes never occur in the 2 label maps of arrays: cell; 255, which means not scored, is the label of "
        "38% of their pixels (a mask of 0 and 255 has to be one of 0 and 1)"
    ]


def test_nothing_is_said_of_complete_labels() -> None:
    assert said(labels([0, 255], [1]), TWO) == []
    assert said(labels([0], [1], [2]), THREE) == []


def test_absent_classes_are_named() -> None:
    assert said(labels([0], [0, 1]), THREE) == ["1 of 3 classes never occur in the 2 label maps of arrays: dust"]


def test_labels_that_leave_nothing_to_score_are_refused_before_training() -> None:
    refusal(lambda: said(labels([255]), TWO), "no pixel would be scored", "all labels of arrays are 255")
    refusal(lambda: said(labels([0], [1, 2]), TWO), "hold 2", "0 to 1 for the 2 classes")


def test_some_of_many_absent_classes_are_named() -> None:
    classes = tuple(Category(f"c{number}", "stuff") for number in range(30))
    assert said(labels([0, 1]), classes)[0].endswith(": c2, c3, c4, c5, c6, c7, c8, c9, c10, c11 and 18 others")


def test_unreadable_labels_are_left_to_the_scoring() -> None:
    images = labels([0], [1])
    images.unlabelled = {1}
    assert "cell" in said(images, TWO)[0]
    images.unlabelled = {0, 1}
    assert said(images, TWO) == []


def test_of_many_label_maps_some_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """They can miss a rare class, but not that there is one class only."""
    monkeypatch.setattr(occurrence, "READ", 4)
    read = []

    class Watched(Arrays):
        def label(self, index: int) -> Image.Image:
            read.append(index)
            return super().label(index)

    many = labels(*[[0]] * 10)
    assert said(Watched(many.images, many.labels), TWO) == [
        "1 of 2 classes never occur in the 4 label maps of 10, evenly spread, of arrays: cell"
    ]
    assert read == [0, 3, 6, 9]
    assert said(labels(*[[0, 1]] * 10), THREE) == []


def test_other_processes_read_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(occurrence.rank_zero_only, "rank", 1)
    assert said(labels([0]), TWO) == []


@pytest.mark.parametrize("stage", ["fit", "validate"])
def test_it_is_said_once_before_training_or_scoring(stage: str) -> None:
    images = labels([0, 255], [0])
    data = ImageData(lambda: images, images, TWO, VIEWS, paper(), 2, 0, 0, "raise")
    assert "1 of 2 classes never occur in the 2 label maps of arrays: cell; 255" in warned(lambda: data.setup(stage))[0]
    assert warned(lambda: data.setup(stage)) == []


def mask(folder: Path, split: str) -> None:
    for path in (folder / "labels" / split).iterdir():
        values = np.asarray(Image.open(path))
        Image.fromarray(np.where(values == 1, 255, 0).astype(np.uint8)).save(path)


def test_labels_that_probes_are_fitted_on(labelled_root: Path) -> None:
    mask(labelled_root, "train")
    data = labelled_folder(folder(labelled_root), str(labelled_root), ["train"], "val")
    with pytest.warns(UserWarning, match="2 of 3 classes never occur in the 6 label maps of train of .*: ground, obj"):
        data.setup("validate")


def test_unlabelled_data_has_nothing_to_check() -> None:
    data = ImageData(lambda: labels([0], [0]), None, (), VIEWS, paper(), 2, 0, 0, "raise")
    data.trainer = SimpleNamespace(global_rank=0, world_size=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.setup("fit")
