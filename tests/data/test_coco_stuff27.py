"""COCO-Stuff in COCO's own layout: curated lists, the 182 -> 27 map, and what is said when something is missing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data.coco_stuff27 import CocoImages, benchmark, curated_ids
from src.errors import DenseSiamError
from tests.conftest import SHARED


def test_curated_lists_have_the_benchmarks_sizes_and_no_repeats() -> None:
    for split, size in (("train", 49629), ("val", 2175)):
        ids = curated_ids(split)
        assert len(ids) == len(set(ids)) == size
        assert all(len(image_id) == 12 and image_id.isdigit() for image_id in ids)
    assert not set(curated_ids("train")) & set(curated_ids("val"))


def test_classes_are_twelve_things_then_fifteen_kinds_of_stuff() -> None:
    classes, fine_to_coarse = benchmark()
    assert [category.kind for category in classes] == ["thing"] * 12 + ["stuff"] * 15
    assert len(fine_to_coarse) == 182
    assert set(fine_to_coarse) == set(range(27))


def test_map_is_the_releases() -> None:
    path = SHARED / "reference" / "golden" / "fine_to_coarse.json"
    if not path.is_file():
        pytest.skip(f"needs {path}, which is not part of the project")
    golden = json.loads(path.read_text())
    classes, fine_to_coarse = benchmark()
    assert fine_to_coarse == golden["fine_to_coarse"]
    assert [category.name for category in classes] == golden["coarse_names"]


def coco_folder(root: Path, values: list[int]) -> Path:
    """One train and one val image in COCO's layout; the val labels hold `values` from left to right."""
    for split in ("train", "val"):
        (root / f"{split}2017").mkdir()
        (root / "stuffthingmaps" / f"{split}2017").mkdir(parents=True)
        Image.new("RGB", (len(values), 4)).save(root / f"{split}2017" / f"{curated_ids(split)[0]}.jpg")
    label = np.tile(np.array(values, dtype=np.uint8), (4, 1))
    Image.fromarray(label).save(root / "stuffthingmaps" / "val2017" / f"{curated_ids('val')[0]}.png")
    return root


def test_labels_are_mapped_and_255_stays_ignored(tmp_path: Path) -> None:
    images = CocoImages(coco_folder(tmp_path, [0, 1, 181, 255, 182, 254]), "val", curated_ids("val"))
    assert len(images) == 1
    row = np.asarray(images.label(0))[0].tolist()
    assert row[:4] == [9, 11, 24, 255]
    assert all(27 <= value < 255 for value in row[4:])  # no COCO-Stuff value: refused when it is scored


def test_real_fine_labels_map_to_the_coarse_ones(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    coco128 = shared_data("coco128")
    ids = sorted(path.stem for path in (coco128 / "images" / "val").glob("*.jpg"))
    (tmp_path / "stuffthingmaps").mkdir()
    shutil.copytree(coco128 / "images" / "val", tmp_path / "val2017")
    shutil.copytree(coco128 / "labels_fine" / "val", tmp_path / "stuffthingmaps" / "val2017")
    images = CocoImages(tmp_path, "val", ids)
    assert len(images) == len(ids) == 40
    for index, image_id in enumerate(ids):
        with Image.open(coco128 / "labels" / "val" / f"{image_id}.png") as coarse:
            assert np.array_equal(np.asarray(images.label(index)), np.asarray(coarse)), image_id


@pytest.mark.filterwarnings("default:.*curated images")
def test_missing_images_are_counted(tmp_path: Path) -> None:
    root = coco_folder(tmp_path, [0, 1])
    with pytest.warns(UserWarning, match="val2017 lacks 2174 of the 2175 curated images"):
        CocoImages(root, "val", curated_ids("val"))
    with pytest.raises(DenseSiamError, match=r"holds none of the 1 curated images, such as 000000000000.jpg"):
        CocoImages(root, "val", ["000000000000"])
