"""COCO's boxes and masks: categories, crowds, and files that are not as expected."""

import json
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src.data import coco_detection
from src.data.coco_detection import all_images
from src.data.coco_file import _categories, read_coco
from src.data.coco_masks import check_segmentation, mask_of
from tests.data.detection_trees import SQUARE, coco_data, coco_tree, instances
from tests.refusals import refusal

CROWD = {"iscrowd": 1, "segmentation": {"size": [40, 60], "counts": [0, 1200, 1200]}}
BIRD = {"category_id": 90, "bbox": [0, 0, 60, 40], "segmentation": [[0, 0, 60, 0, 60, 40, 0, 40]]}


def test_categories_become_0_to_c_in_the_order_of_their_ids(tmp_path: Path) -> None:
    data = coco_data(coco_tree(tmp_path, val=instances({}, BIRD, {"image_id": 8, "area": 77})))
    assert [category.name for category in data.classes] == ["cat", "bird"]
    first, second = (batch["label"][0] for batch in data.val_dataloader())
    assert first["labels"].tolist() == [0, 1]
    assert first["boxes"].tolist() == [[10, 10, 20, 20], [0, 0, 60, 40]]
    assert first["area"].tolist() == [100, 2400]  # as the boxes, where the file has none
    assert second["area"].tolist() == [77]
    assert first["masks"].shape == (2, 40, 60)
    assert first["masks"].sum(dim=(1, 2)).tolist() == [100, 2400]
    assert first["masks"][0, 10:20, 10:20].all()
    without = coco_data(tmp_path, masks=False)
    assert "masks" not in next(iter(without.val_dataloader()))["label"][0]


def test_crowds_are_scored_as_ignored_and_not_trained_on(tmp_path: Path) -> None:
    """An image with crowds only, or without objects, is scored; it is not trained on, as in detectron2."""
    only = {**CROWD, "image_id": 8}
    file = instances({}, CROWD, only, images=3)
    data = coco_data(coco_tree(tmp_path, train=file, val=file))
    data.setup("fit")
    assert [data.val.objects(index)["ignored"].tolist() for index in range(3)] == [
        [False, True],
        [True],
        [],
    ]
    (batch,) = data.train_dataloader()
    assert batch["label"][0]["ignored"].tolist() == [False]
    assert batch["label"][0]["masks"].dtype == torch.uint8
    assert batch["label"][0]["masks"].shape[1:] == batch["image"][0].shape[1:]
    crowds = coco_data(coco_tree(tmp_path / "crowds", train=instances(CROWD), val=file))
    refusal(lambda: crowds.train, "no image of", "not a crowd")
    only = coco_data(coco_tree(tmp_path / "scored", train=file, val=instances(CROWD)))
    refusal(lambda: only.setup("validate"), "images to score", "not only crowds")


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")  # pycocotools
def test_masks_equal_those_of_pycocotools(shared_data: Callable[[str], Path]) -> None:
    from pycocotools.coco import COCO

    root = shared_data("coco207")
    path = root / "annotations" / "instances_val.json"
    images = all_images(read_coco(path, root / "images" / "val", with_masks=True))
    theirs = COCO(str(path))
    compared = 0
    for index in range(12):
        number = int(images.file.ids[index])
        expected = [theirs.annToMask(one) for one in theirs.imgToAnns[number]]
        assert np.array_equal(
            images.objects(index, images.stated_size(index))["masks"],
            np.array(expected).reshape(len(expected), *expected[0].shape),
        )
        compared += len(expected)
    assert compared > 50


def test_compressed_run_lengths_are_those_of_pycocotools() -> None:
    from pycocotools import mask as theirs

    generator = np.random.default_rng(0)
    for _ in range(20):
        height, width = generator.integers(1, 60, 2).tolist()
        mask = np.asfortranarray(generator.integers(0, 2, (height, width), dtype=np.uint8).repeat(9, axis=0))
        code = theirs.encode(mask)
        text = {"size": code["size"], "counts": code["counts"].decode()}
        assert np.array_equal(mask_of("it", text, width, 9 * height), mask)


@pytest.mark.parametrize(
    ("segmentation", "part"),
    [
        ({"size": [4000, 6000], "counts": [24_000_000]}, "size [4000, 6000] for an image of [40, 60]"),
        ({"size": [40, 60], "counts": [0, 10**15]}, "run lengths of 1000000000000000 pixels"),
        ({"size": [40, 60], "counts": [1200, 1199]}, "run lengths of 2399 pixels for an image of 2400"),
        ({"size": [40, 60], "counts": [-5, 2405]}, "not whole numbers from 0"),
        ({"size": [40, 60], "counts": [1.5, 2398.5]}, "not whole numbers"),
        ({"size": [40, 60], "counts": "\x7f\x7f\x7f"}, "not whole numbers"),
        ({"size": [40, 60], "counts": "oooooooooooo"}, "not whole numbers"),
        ({"size": [40, 60], "counts": "abc"}, "run lengths"),
        ({"size": [40, 60]}, "not whole numbers"),
        ({}, "a mask of size None"),
        ([[0, 0, 1e9, 0, 1e9, 1e9]], "a polygon whose coordinates are not numbers near the image"),
        ([[0, 0, float("nan"), 0, 10, 10]], "a polygon"),
        ([["a", "b"]], "a polygon"),
        ([[1, 2, 3, 4, 5, 6, 7]], "a polygon of 7 numbers, which are no pairs"),
        ([[[0, 0], [1, 1]]], "a polygon"),
        ("text", "str as segmentation"),
        (None, "NoneType as segmentation"),
    ],
)
def test_segmentations_that_do_not_fit_the_image_are_refused(segmentation: Any, part: str) -> None:
    for function in (mask_of, check_segmentation):
        refusal(partial(function, "image 7 of val.json", segmentation, 60, 40), "image 7 of val.json has", part)


def test_polygons_without_an_area_make_an_empty_mask() -> None:
    for polygons in ([], [[]], [[1, 2, 3, 4]]):
        assert not mask_of("it", polygons, 60, 40).any()
    assert mask_of("it", [[1, 2], *SQUARE], 60, 40).sum() == 100


def changed(key: str, **values: Any) -> dict[str, Any]:
    """Instances whose first entry of `key` has other values; None takes a value out."""
    file = instances({})
    file[key][0] = {name: one for name, one in {**file[key][0], **values}.items() if one is not None}
    return file


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("no JSON", ["can't read", "val.json", "COCO's instances"]),
        ("[" * 100_000, ["can't read", "val.json"]),
        ("[]", ["val.json holds []", "images, annotations and categories"]),
        ('{"images": [], "annotations": []}', ["COCO's instances"]),
        (instances(images=0), ["has no images"]),
        (instances({}, categories=[]), ["no category"]),
        (instances({}, categories=[{"id": 3, "name": "cat"}, {"id": 3, "name": "dog"}]), ["an id twice"]),
        (instances({}, categories=[{"id": 3, "name": "cat"}, {"id": 4, "name": "cat"}]), ["the name 'cat'"]),
        (instances({}, categories=[{"id": 3, "name": "a\x1b[2J"}]), ["among its categories"]),
        (changed("images", id=8), ["several images with one id"]),
        (changed("images", file_name="1.jpg"), ["an image twice"]),
        (changed("images", file_name="../../secret.jpg"), ["'../../secret.jpg'", "below the folder"]),
        (changed("images", file_name="/etc/passwd"), ["'/etc/passwd'", "below the folder"]),
        (changed("images", file_name="a/../../b.jpg"), ["below the folder"]),
        (changed("images", file_name="9.jpg"), ["1 of the 2 images", "9.jpg", "data.val_images"]),
        (changed("images", width=10**9), ["1000000000 x 40", "1 to 65535"]),
        (changed("images", height=None), ["id, file_name, width, height"]),
        (changed("images", id=10**30), ["the id 1000", "expected at most 9223372036854775807"]),
        (changed("images", id="7"), ["id, file_name"]),
        (changed("annotations", category_id=5), ["category 5", "[3, 90]", "add the category"]),
        (changed("annotations", bbox=[1, 2, 3]), ["bbox [1, 2, 3]", "[x, y, width, height]"]),
        (changed("annotations", bbox=[1, 2, 3, "4"]), ["[x, y, width, height]"]),
        (changed("annotations", bbox=[1, 2, 3, float("nan")]), ["finite numbers"]),
        (changed("annotations", bbox=[1, 2, 3, float("inf")]), ["finite numbers"]),
        (changed("annotations", bbox=[1, 2, 3, 1e9]), ["the coordinate 1000000000"]),
        (changed("annotations", bbox=None), ["image_id, category_id, bbox"]),
        (changed("annotations", area="large"), ["'large'"]),
        (changed("annotations", iscrowd="yes"), ["iscrowd 'yes'", "0 or 1"]),
        (changed("annotations", segmentation=None), ["without segmentation", "data.masks=false"]),
    ],
)
def test_files_that_are_not_coco_are_refused(tmp_path: Path, content: Any, parts: list[str]) -> None:
    refusal(lambda: coco_data(coco_tree(tmp_path, val=content)), *parts)


def test_objects_of_other_images_are_left_out_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="2 objects of .* are in images that it does not list"):
        data = coco_data(coco_tree(tmp_path, val=instances({}, {"image_id": 1}, {"image_id": 2})))
    assert len(data.val.objects(0)["boxes"]) == 1


def test_both_files_need_the_same_categories(tmp_path: Path) -> None:
    other = instances({}, categories=[{"id": 3, "name": "dog"}])
    data = coco_data(coco_tree(tmp_path, train=other, val=instances({})))
    refusal(lambda: data.train, "1 categories", "the same names in the order of their ids")


def test_an_image_of_another_size_is_refused(tmp_path: Path) -> None:
    data = coco_data(coco_tree(tmp_path, val=changed("images", width=40, height=60)))
    refusal(lambda: list(data.val_dataloader()), "image 7 of", "40 x 60, it is 60 x 40")


def test_damaged_masks_are_found_before_the_run(tmp_path: Path) -> None:
    data = coco_data(coco_tree(tmp_path, val=instances({"segmentation": {"size": [1, 1], "counts": [1]}})))
    refusal(lambda: data.setup("validate"), "a mask of size [1, 1]")


def test_no_mask_is_made_in_a_size_that_is_stated_only(tmp_path: Path) -> None:
    """Two masks of 60,000 x 60,000 pixels would be 7.2 GB, before the image shows that the size is wrong."""
    file = instances({}, {})
    file["images"][0] |= {"width": 60_000, "height": 60_000}
    data = coco_data(coco_tree(tmp_path, val=file))
    tracemalloc.start()
    data.setup("validate")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6
    refusal(lambda: list(data.val_dataloader()), "60000 x 60000, it is 60 x 40")


def test_masks_that_fill_the_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = coco_data(coco_tree(tmp_path, val=instances({}, {})))
    assert data.val.objects(0, (60, 40))["masks"].shape == (2, 40, 60)
    monkeypatch.setattr(coco_detection, "MOST_MASK_PIXELS", 4799)
    refusal(lambda: data.val.objects(0, (60, 40)), "image 7 of", "has 2 objects", "data.masks=false")


def test_more_objects_and_categories_than_can_be_read_are_refused(tmp_path: Path) -> None:
    crowded = coco_tree(tmp_path / "objects", val=instances(*[{}] * 10_001))
    refusal(lambda: coco_data(crowded), "10001 objects in image 7", "at most 10000")
    many = [{"id": number, "name": str(number)} for number in range(20_001)]
    rich = coco_tree(tmp_path / "categories", val=instances(categories=many))
    refusal(lambda: coco_data(rich), "20001 categories", "at most 20000")


def test_names_of_many_categories_are_compared_once() -> None:
    """Comparing each with each took 12 s for 20,000 of them."""

    class Counted(str):
        compared = 0

        def __eq__(self, other: object) -> bool:
            Counted.compared += 1
            return super().__eq__(other)

        __hash__ = str.__hash__

    entries = [{"id": number, "name": Counted(number)} for number in range(1000)]
    assert len(_categories(Path("val.json"), entries)) == 1000
    assert Counted.compared < 10_000


def test_polygons_that_cross_the_image_without_end_are_refused() -> None:
    """8,000 alternating corners, 65 kB of text, took 540 MiB at 640 x 480. Less winding outlines are read."""
    corners = [0, 0, 640, 480]
    refusal(lambda: mask_of("it", [corners * 4000], 640, 480), "8960000 pixels' outline", "100 times")
    refusal(lambda: mask_of("it", [[0, 0, 640, 0, 640, 480]] * 101, 640, 480), "pixels' outline")
    assert mask_of("it", [corners * 50], 640, 480).shape == (480, 640)
    refusal(lambda: mask_of("it", [[1, 1, 1, 1, 1, 1]] * 10_001, 640, 480), "10001 polygons")


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    coco_tree(tmp_path, val="﻿" + json.dumps(instances({})))
    assert len(coco_data(tmp_path).val) == 2
