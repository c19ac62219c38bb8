"""COCO-Stuff in COCO's own layout: lists, classes, and what is said when something is missing."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from src.data.coco_stuff import CocoImages, curated_ids, scheme
from tests.conftest import SHARED
from tests.data.configured import configured
from tests.refusals import refusal

TRAIN, VAL = ("000000000009", "000000000025", "000000000030", "000000000034"), ("000000000139", "000000000724")
UNUSED = [11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return coco_folder(tmp_path, [0, 1, 181, 255])


def coco_folder(root: Path, values: Sequence[int]) -> Path:
    """Four training and two validation images in COCO's layout; only the latter have labels, `values` in each row."""
    for split, ids in (("train", TRAIN), ("val", VAL)):
        (root / f"{split}2017").mkdir()
        for image_id in ids:
            Image.new("RGB", (len(values), 4)).save(root / f"{split}2017" / f"{image_id}.jpg")
    labels = root / "stuffthingmaps" / "val2017"
    labels.mkdir(parents=True)
    for image_id in VAL:
        Image.fromarray(np.tile(np.array(values, dtype=np.uint8), (4, 1))).save(labels / f"{image_id}.png")
    return root


def known(*parts: str) -> Any:
    path = SHARED.joinpath(*parts)
    if not path.is_file():
        pytest.skip(f"needs {path}, which is not part of the project")
    return json.loads(path.read_text())


def test_curated_lists_have_the_benchmarks_sizes_and_no_repeats() -> None:
    for split, size in (("train", 49629), ("val", 2175)):
        ids = curated_ids(split)
        assert len(ids) == len(set(ids)) == size
        assert all(len(image_id) == 12 and image_id.isdigit() for image_id in ids)
    assert not set(curated_ids("train")) & set(curated_ids("val"))


def test_27_classes_are_twelve_things_then_fifteen_kinds_of_stuff() -> None:
    classes, class_of = scheme(27)
    assert [category.kind for category in classes] == ["thing"] * 12 + ["stuff"] * 15
    assert sorted(class_of) == [*range(182), 255]
    assert set(class_of.values()) == {*range(27), 255}


def test_171_classes_are_eighty_things_then_ninety_one_kinds_of_stuff() -> None:
    classes, class_of = scheme(171)
    assert [category.kind for category in classes] == ["thing"] * 80 + ["stuff"] * 91
    assert len({category.name for category in classes}) == 171
    assert sorted(class_of) == [value for value in [*range(182), 255] if value not in UNUSED]
    assert list(class_of.values()) == [*range(171), 255]
    named = {value: classes[class_of[value]].name for value in (0, 10, 12, 89, 91, 123, 181)}
    assert named == {
        **{0: "person", 10: "fire hydrant", 12: "stop sign", 89: "toothbrush"},
        **{91: "banner", 123: "grass", 181: "wood"},
    }


def test_other_numbers_of_classes_are_refused(root: Path) -> None:
    refusal(lambda: configured("coco_stuff27", root, "data.num_classes=15"), "data.num_classes is 15", "27 or 171")


def test_maps_and_names_are_the_releases() -> None:
    golden = known("reference", "golden", "fine_to_coarse.json")
    coarse, coarse_of = scheme(27)
    assert [coarse_of[value] for value in range(182)] == golden["fine_to_coarse"]
    assert [category.name for category in coarse] == golden["coarse_names"]
    fine, fine_of = scheme(171)
    parents = {fine[fine_of[value]].name: coarse[coarse_of[value]].name for value in fine_of if value != 255}
    assert len(parents) == 171
    assert parents.items() <= golden["fine_name_to_coarse_name"].items()


def test_classes_are_those_of_coco_panoptic() -> None:
    (coarse, coarse_of), (fine, fine_of) = scheme(27), scheme(171)
    entries = known("data", "coco128", "classes_fine.json")
    assert len(entries) == 133
    for entry in entries:
        name = {"ceiling-merged": "ceiling-other"}.get(entry["name"], entry["name"].removesuffix("-merged"))
        assert fine[fine_of[entry["id"]]] == (name, entry["kind"])
        assert coarse_of[entry["id"]] == entry["coarse_id"]
        assert coarse[entry["coarse_id"]].kind == entry["kind"]


@pytest.mark.parametrize(("split", "count"), [("train", 100), ("val", 40)])
def test_real_fine_labels_map_to_the_coarse_ones(
    shared_data: Callable[[str], Path], tmp_path: Path, split: str, count: int
) -> None:
    coco128 = shared_data("coco128")
    (tmp_path / "stuffthingmaps").mkdir()
    (tmp_path / f"{split}2017").symlink_to(coco128 / "images" / split)
    (tmp_path / "stuffthingmaps" / f"{split}2017").symlink_to(coco128 / "labels_fine" / split)
    coarse, fine = (CocoImages(tmp_path, split, "all", classes, labelled=True) for classes in (27, 171))
    assert len(coarse) == len(fine) == count
    (_, coarse_of), (_, fine_of) = scheme(27), scheme(171)
    parent = np.full(256, 254)
    parent[[fine_of[value] for value in fine_of]] = [coarse_of[value] for value in fine_of]
    for index in range(count):
        found = np.asarray(coarse.label(index))
        with Image.open(coco128 / "labels" / split / Path(coarse.label_name(index)).name) as stored:
            assert np.array_equal(found, np.asarray(stored)), coarse.label_name(index)
        assert np.array_equal(parent[np.asarray(fine.label(index))], found), coarse.label_name(index)


def test_labels_are_mapped_and_255_stays_ignored(tmp_path: Path) -> None:
    coco_folder(tmp_path, [0, 1, 12, 91, 181, 255])
    for classes, expected in ((27, [9, 11, 8, 17, 24, 255]), (171, [0, 1, 11, 80, 170, 255])):
        label = CocoImages(tmp_path, "val", "all", classes, labelled=True).label(1)
        assert (label.mode, label.size) == ("L", (6, 4))
        assert np.asarray(label).tolist() == [expected] * 4


def test_values_without_a_class_are_refused(tmp_path: Path) -> None:
    images = CocoImages(coco_folder(tmp_path, [0, 255, 254, 182]), "val", "all", 27, labelled=True)
    refusal(lambda: images.label(0), images.label_name(0), "hold [182, 254]", "0 to 181, and 255")


def test_values_that_coco_stuff_never_uses_have_a_coarse_class_but_no_fine_one(tmp_path: Path) -> None:
    coco_folder(tmp_path, [11, 90, 0])
    assert np.asarray(CocoImages(tmp_path, "val", "all", 27, labelled=True).label(0))[0].tolist() == [8, 4, 9]
    images = CocoImages(tmp_path, "val", "all", 171, labelled=True)
    refusal(lambda: images.label(0), images.label_name(0), "hold [11, 90]", "except the 11 that it never uses")


def test_all_is_every_image_of_the_folder(root: Path) -> None:
    (root / "train2017" / "notes.txt").touch()
    data = configured("coco_stuff171", root)
    assert [Path(data.train.image_name(index)).stem for index in range(4)] == list(TRAIN)
    assert len(data.classes) == 171
    assert str(data.val) == f"COCO-Stuff-171, all images in {root / 'val2017'}"


@pytest.mark.filterwarnings("default")
def test_a_list_may_come_from_any_system(root: Path) -> None:
    file = root / "list.txt"
    file.write_bytes(b"\xef\xbb\xbf000000000724.jpg\r\n\r\nval2017\\139.jpg\r\nval2017/000000000139.jpg\r\n  724 \r\n")
    with pytest.warns(UserWarning, match=r"list.txt names 2 images twice: each is used once"):
        data = configured("coco_stuff27", root, f"data.val_list={file}")
    assert [data.val.label_name(index) for index in range(2)] == [
        str(root / "stuffthingmaps" / "val2017" / f"{image_id}.png") for image_id in ("000000000724", "000000000139")
    ]
    assert str(data.val) == f"COCO-Stuff-27, images listed in {file} in {root / 'val2017'}"


def test_an_empty_list_or_none(root: Path) -> None:
    (root / "empty.txt").write_text("\n\n")
    refusal(lambda: configured("coco_stuff27", root, f"data.val_list={root / 'empty.txt'}"), "empty.txt", "empty")
    refusal(lambda: configured("coco_stuff27", root, "data.val_list=curatd"), "data.val_list is 'curatd'", "curated")


@pytest.mark.filterwarnings("default")
def test_missing_images_are_counted_and_named(root: Path) -> None:
    with pytest.warns(UserWarning, match=r"val2017 has 2 of 2175 curated images.* scores are not comp") as caught:
        val = CocoImages(root, "val", "curated", 27, labelled=True)
    missing = [image_id for image_id in curated_ids("val") if image_id not in VAL]
    assert f"the others, such as {', '.join(missing[:3])}, are missing" in str(caught[0].message)
    assert str(val) == f"COCO-Stuff-27, 2 of 2175 curated images in {root / 'val2017'}"
    (root / "train.txt").write_text("9\n10\n30\n")
    with pytest.warns(
        UserWarning, match=r"has 2 of 3 images listed in .*train.txt, .* 000000000010, .* training uses the others"
    ):
        train = CocoImages(root, "train", str(root / "train.txt"), 27, labelled=False)
    assert [Path(train.image_name(index)).stem for index in range(len(train))] == ["000000000009", "000000000030"]


def test_no_image_at_all(root: Path) -> None:
    other, folder, layout = root / "other.txt", root / "val2017", "stuffthingmaps/val2017/"
    other.write_text("1\n2\n")
    refusal(lambda: CocoImages(root, "val", str(other), 27, True), folder, other, "000000000001.jpg", "none", layout)
    shutil.rmtree(folder)
    refusal(lambda: CocoImages(root, "val", "curated", 27, True), f"expected curated images in {folder}", layout)
    refusal(lambda: CocoImages(root, "val", "all", 27, True), f"expected all images in {folder}", layout)
    shutil.rmtree(root)
    refusal(lambda: configured("coco_stuff27", root), root, "not a folder", layout, "data.root=DIR")


def test_images_to_score_without_labels(root: Path) -> None:
    missing = root / "stuffthingmaps" / "val2017" / f"{VAL[1]}.png"
    missing.unlink()
    refusal(lambda: configured("coco_stuff171", root), "1 of 2 label files", missing, "stuffthingmaps_trainval2017.zip")
    shutil.rmtree(root / "stuffthingmaps")
    refusal(lambda: configured("coco_stuff171", root), "2 of 2 label files", missing.with_name(f"{VAL[0]}.png"))


def test_training_needs_no_labels_and_scoring_no_training_images(root: Path) -> None:
    data = configured("coco_stuff171", root)
    assert len(next(iter(data.train_dataloader()))["index"]) == 4
    shutil.rmtree(root / "train2017")
    data = configured("coco_stuff171", root)
    assert sum(len(batch["label"]) for batch in data.val_dataloader()) == 2
    refusal(lambda: data.setup("fit"), root / "train2017")


@pytest.mark.filterwarnings("default")
def test_images_that_are_trained_on_and_scored(root: Path) -> None:
    shutil.copy(root / "val2017" / f"{VAL[1]}.jpg", root / "train2017")
    with pytest.warns(UserWarning, match="images both trained on and scored: 1, such as 000000000724;"):
        configured("coco_stuff171", root).setup("fit")
