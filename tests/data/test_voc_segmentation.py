"""VOC's layout for semantic segmentation: palette and grey labels, its 21 classes or a user's own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from src.data.voc_segmentation import VOCSegmentation
from src.drawing.colours import index_image, palette
from src.metrics import Category
from tests.data.trees import voc_tree
from tests.factories import VIEWS, noise_image, paper
from tests.refusals import refusal


def voc(root: Path, **changes: Any) -> VOCSegmentation:
    values = {"train_splits": ["train"], "val_split": "val", "classes": None, "views": VIEWS, "protocol": paper()}
    values |= {"batch_size": 2, "num_workers": 0, "seed": 0, "on_corrupt": "raise"}
    return VOCSegmentation(str(root), **(values | changes))


@pytest.mark.filterwarnings("ignore:.*classes never occur")
def test_the_layout_is_read(tmp_path: Path) -> None:
    data = voc(voc_tree(tmp_path))
    data.setup("fit")
    assert (len(data.train), len(data.val), len(data.classes)) == (4, 3, 21)
    assert data.classes[0] == Category("background", "stuff")
    assert data.classes[12] == Category("dog", "thing")
    assert data.train.image(0).size == (40, 40)
    palette_label, grey = (np.asarray(data.val.label(index)) for index in (0, 1))
    assert {*np.unique(palette_label)} <= {*range(8), 255}
    assert grey.dtype == np.uint8
    assert data.train_image_name(0).endswith("JPEGImages/2007_000000.jpg")
    assert str(data.val) == f"VOC segmentation, val of {tmp_path}"


def test_palette_indices_are_the_classes(tmp_path: Path) -> None:
    data = voc(voc_tree(tmp_path))
    label = np.array([[0, 15], [20, 255]], np.uint8)
    colours = np.zeros((256, 3), np.uint8)
    colours[:21] = palette(21)[:21]
    index_image(label, colours).save(data.val.label_name(0))
    assert np.array_equal(np.asarray(data.val.label(0)), label)


def test_a_users_own_classes(tmp_path: Path) -> None:
    data = voc(voc_tree(tmp_path), classes=["background", "cat", "my dog"])
    assert [one.name for one in data.classes] == ["background", "cat", "my dog"]
    refusal(data.check_labels, "expected 0 to 2 for the 3 classes")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("cat", "data.classes is 'cat': expected a list"),
        ([], "data.classes is []"),
        (["cat", "cat"], "expected each name once"),
        (["cat", 3], "data.classes is 3: expected a text"),
        (["cat", "a\nb"], "whose name is not one line of text"),
        ([f"c{number}" for number in range(256)], "has 256 names: expected at most 255"),
    ],
)
def test_other_lists_of_classes_are_refused(classes: Any, message: str, tmp_path: Path) -> None:
    refusal(lambda: voc(voc_tree(tmp_path), classes=classes), message)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    root = voc_tree(tmp_path)
    refusal(lambda: voc(root, val_split="test"), "1 of 1 lists are missing", "ImageSets/Segmentation/test.txt")
    refusal(lambda: voc(tmp_path / "none"), "which is not a folder", "SegmentationClass")
    (root / "SegmentationClass" / "2007_000001.png").unlink()
    refusal(lambda: voc(root).train, "1 of 4 label files are missing", "2007_000001.png")
    (root / "JPEGImages" / "2007_000005.jpg").unlink()
    refusal(lambda: voc(root), "1 of 3 listed images are missing", "2007_000005.jpg")


def test_a_list_can_not_leave_its_folder(tmp_path: Path) -> None:
    root = voc_tree(tmp_path / "voc")
    noise_image(8, 8).save(tmp_path / "secret.jpg")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("../../secret\n", encoding="utf-8")
    refusal(lambda: voc(root), "line 1 of", "expected a name relative to the data's folder")


def test_real_photographs(shared_data: Any) -> None:
    root = shared_data("voc2012animals")
    data = voc(root)
    assert (len(data.train), len(data.val)) == (620, 150)
    label = np.asarray(data.val.label(3))
    image = data.val.image(3)
    assert label.shape == (image.height, image.width)
    assert 255 in label
    assert isinstance(image, Image.Image)
