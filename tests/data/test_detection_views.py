"""Resized and mirrored images with their objects."""

from pathlib import Path
from typing import Any

import pytest
import torch

from src.data.detection_views import ShortSide
from src.data.reading import Reader
from src.data.sampling import SampleKey
from src.short_side import short_side_size
from tests.data.arrays import Arrays, flat
from tests.data.detection_trees import VIEWS, annotation, object_xml, photograph, voc_data, voc_tree
from tests.detections import label
from tests.refusals import refusal


def views(**changes: Any) -> ShortSide:
    return ShortSide(**{**VIEWS, **changes})


def marked(box: tuple[int, int, int, int], width: int, height: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """A black image that is white inside of a box, and the box with its mask."""
    x0, y0, x1, y1 = box
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    image[:, y0:y1, x0:x1] = 255
    return image, {**label((1, box)), "masks": (image[:1] > 0).to(torch.uint8)}


@pytest.mark.parametrize("flip", [0, 1])
def test_image_box_and_mask_move_together(flip: int) -> None:
    image, objects = marked((10, 20, 40, 60), 120, 80)
    shown, moved = views(sides=[160], longest=400, flip_probability=flip)(image, objects)
    assert shown.shape == (3, 160, 240)
    expected = [240 - 80, 40, 240 - 20, 120] if flip else [20, 40, 80, 120]
    assert moved["boxes"].tolist() == [expected]
    x0, y0, x1, y1 = expected
    assert moved["masks"][0, y0:y1, x0:x1].all()
    assert int(moved["masks"].sum()) == (x1 - x0) * (y1 - y0)
    assert shown[0, y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].min() > 250
    assert moved["labels"].tolist() == [1]
    assert {type(value) for value in (shown, *moved.values())} == {torch.Tensor}
    assert (shown.dtype, moved["boxes"].dtype, moved["masks"].dtype) == (torch.uint8, torch.float32, torch.uint8)


def test_sides_are_those_of_scoring() -> None:
    """torchvision's `RandomShortestSize` gives 799 for 667; the network rounds when it predicts."""
    shown, _ = views(sides=[800], longest=1333, flip_probability=0)(*marked((0, 0, 20, 20), 700, 667))
    assert shown.shape[1:] == (800, 840)
    for height in range(200, 867):
        assert min(short_side_size(height, 900, 800, 4000)) == 800


def test_the_longer_side_is_limited() -> None:
    shown, moved = views(sides=[64], longest=96, flip_probability=0)(*marked((0, 0, 200, 50), 200, 50))
    assert shown.shape == (3, 24, 96)
    assert moved["boxes"].tolist() == [[0, 0, 96, 24]]


def test_sides_and_flips_are_drawn_from_the_seed_epoch_and_index(tmp_path: Path) -> None:
    data = voc_data(voc_tree(tmp_path, {"train": {"a": annotation(object_xml())}, "val": {"b": annotation()}}))
    samples = data.views.samples(Reader(data.train, "raise", 0), 3, seed=0)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    drawn = [samples[SampleKey(epoch, 0)] for epoch in range(20)]
    assert torch.equal(state, torch.get_rng_state())
    assert {min(one["image"].shape[1:]) for one in drawn} == {48, 64}
    lefts = {(min(one["image"].shape[1:]), one["label"]["boxes"][0, 0].item() < 20) for one in drawn}
    assert len(lefts) == 4  # both sides, mirrored and not
    again = [samples[SampleKey(epoch, 0)] for epoch in range(20)]
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(drawn, again, strict=True))


def test_objects_that_vanish_are_dropped_with_all_that_belongs_to_them() -> None:
    image, objects = marked((10, 20, 40, 60), 120, 80)
    two = {name: torch.cat([value, value]) for name, value in objects.items()}
    two["masks"][0] = 0  # an empty mask can't be learnt
    two["labels"][0] = 0
    _, kept = views()(image, two)
    assert kept["labels"].tolist() == [1]
    assert {len(value) for value in kept.values()} == {1}


def test_an_image_that_is_too_long_is_refused(tmp_path: Path) -> None:
    root = voc_tree(tmp_path, {"val": {"a": annotation(object_xml(box=(1, 1, 5, 2)), width=0)}})
    photograph(root / "JPEGImages" / "a.jpg", 400, 2)
    refusal(lambda: list(voc_data(root).val_dataloader()), "400 x 2", "at most 64 times")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"sides": []}, "data.views.sides is []: expected a list"),
        ({"sides": 480}, "data.views.sides is 480: expected a list"),
        ({"sides": [0]}, "data.views.sides is 0"),
        ({"sides": [48.5]}, "data.views.sides is 48.5"),
        ({"sides": [128]}, "raise data.views.longest"),
        ({"longest": 10}, "data.views.longest is 10"),
        ({"flip_probability": 2}, "data.views.flip_probability is 2"),
    ],
)
def test_wrong_values_are_refused(changes: dict[str, Any], part: str) -> None:
    refusal(lambda: views(**changes), part)


def test_data_without_boxes_is_refused() -> None:
    reader = Reader(Arrays(flat(2)), "raise", 0)
    refusal(lambda: views().samples(reader, 3, 0), "short_side shows images with boxes", "data=voc_detection")
