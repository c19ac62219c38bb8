"""Cityscapes in its own layout: the two sets of classes, the splits, and one line for every mistake."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data.cityscapes import CityscapesImages, scheme
from tests.data.configured import configured
from tests.data.trees import cityscapes_tree
from tests.refusals import refusal

# Of github.com/mcordts/cityscapesScripts, cityscapesscripts/helpers/labels.py: train id -> label id.
TRAIN_IDS = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return cityscapes_tree(tmp_path)


def test_19_classes_are_the_official_training_classes() -> None:
    classes, class_of = scheme(19)
    assert [category.name for category in classes] == [
        *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
        *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
    ]
    assert [category.kind for category in classes] == ["stuff"] * 11 + ["thing"] * 8
    assert class_of == {value: TRAIN_IDS.index(value) if value in TRAIN_IDS else 255 for value in range(34)}


def test_27_classes_are_all_that_are_not_void() -> None:
    classes, class_of = scheme(27)
    assert class_of == {value: max(value - 7, -1) % 256 for value in range(34)}  # 0 to 6 are void
    assert [category.kind for category in classes] == ["stuff"] * 17 + ["thing"] * 10
    assert [classes[k].name for k in (0, 2, 3, 11, 16, 17, 22, 26)] == [
        *("road", "parking", "rail track", "polegroup", "sky", "person", "caravan", "bicycle")
    ]
    official, _ = scheme(19)
    assert [classes[value - 7] for value in TRAIN_IDS] == list(official)


def test_the_layout_is_read(root: Path) -> None:
    data = configured("cityscapes", root)
    assert len(data.classes) == 27
    assert [Path(data.train.image_name(index)).name for index in range(len(data.train))] == [
        *(f"aachen_{number:06d}_000019_leftImg8bit.png" for number in range(5)),
        *(f"bochum_{number:06d}_000019_leftImg8bit.png" for number in range(3)),
    ]
    assert data.val.label_name(4) == str(root / "gtFine/val/lindau/lindau_000001_000019_gtFine_labelIds.png")
    assert (data.val.image(4).mode, data.val.image(4).size, data.val.label(4).size) == ("RGB", (48, 24), (48, 24))
    assert str(data.val) == f"Cityscapes, 27 classes, val of {root}"
    labels = [value for batch in data.val_dataloader() for value in batch["label"].unique().tolist()]
    assert set(labels) <= {0, 4, 14, 16, 17, 19, 255}
    assert sum(len(batch["label"]) for batch in data.val_dataloader()) == 5
    assert len(data.train_dataloader()) == 2


@pytest.mark.parametrize(("num_classes", "expected"), [(19, [0, 255, 18, 255, 10, 11]), (27, [0, 2, 26, 255, 16, 17])])
def test_labels_are_mapped(root: Path, num_classes: int, expected: list[int]) -> None:
    images = CityscapesImages(root, ["val"], num_classes, labelled=True)
    Image.fromarray(np.array([[7, 9, 33, 6, 23, 24]], dtype=np.uint8)).save(images.label_name(0))
    assert np.asarray(images.label(0)).tolist() == [expected]


@pytest.mark.parametrize("strange", [34, 255])  # a later version's lane lines; -1 kept in 8 bit, or train ids
def test_values_that_are_no_label_ids_are_refused(root: Path, strange: int) -> None:
    data = configured("cityscapes", root)
    Image.fromarray(np.array([[0, 7, strange, 33]], dtype=np.uint8)).save(data.val.label_name(2))
    refusal(lambda: data.val.label(2), data.val.label_name(2), f"hold [{strange}]", "0 to 33")


def test_training_reads_several_splits_and_no_labels(root: Path) -> None:
    shutil.rmtree(root / "gtFine" / "train")
    data = configured("cityscapes", root, "data.train_splits=[test,train]")
    assert "berlin" in data.train.image_name(0)
    assert len(data.train) == 9
    assert len(next(iter(data.train_dataloader()))["index"]) == 4


@pytest.mark.filterwarnings("default")
def test_a_split_that_is_trained_on_and_scored(root: Path) -> None:
    with pytest.warns(UserWarning, match="and scored: 5, such as val/frankfurt/frankfurt_000000_000019;"):
        configured("cityscapes", root, "data.train_splits=[train,val]").setup("fit")


def test_images_to_score_without_labels(root: Path) -> None:
    labels = root / "gtFine" / "val" / "lindau"
    first = labels / "lindau_000000_000019_gtFine_labelIds.png"
    first.unlink()
    said = refusal(lambda: configured("cityscapes", root), "1 of 5 label files", first, "gtFine_trainvaltest.zip")
    assert "labelTrainIds" not in said
    (labels / "lindau_000000_000019_gtFine_labelTrainIds.png").touch()
    refusal(
        lambda: configured("cityscapes", root), first, "the files NAME_gtFine_labelTrainIds.png can't be used instead"
    )
    shutil.rmtree(root / "gtFine")
    refusal(lambda: configured("cityscapes", root), "5 of 5 label files", "frankfurt_000000_000019_gtFine_labelIds.png")


def test_a_missing_or_empty_folder(root: Path) -> None:
    layout = "leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png"
    data = configured("cityscapes", root, "data.train_splits=[train_extra]")
    folder = root / "leftImg8bit" / "train_extra"
    refusal(lambda: data.setup("fit"), folder, "no such folder", layout, "www.cityscapes-dataset.com")
    (folder / "city").mkdir(parents=True)
    refusal(lambda: data.setup("fit"), folder, "it has none", layout)
    shutil.rmtree(root / "leftImg8bit")
    refusal(lambda: configured("cityscapes", root), root / "leftImg8bit" / "val", "no such folder", layout)
    shutil.rmtree(root)
    refusal(lambda: configured("cityscapes", root), root, "not a folder", layout, "data.root=DIR")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.num_classes=20", ["data.num_classes is 20", "19 or 27"]),
        ("data.val_split=test", ["data.val_split is test", "not public", "data.val_split=val"]),
        ("data.train_splits=train", ["data.train_splits is 'train'", "data.train_splits=[train]"]),
    ],
)
def test_wrong_values(root: Path, override: str, expected: list[str]) -> None:
    refusal(lambda: configured("cityscapes", root, override), *expected)
