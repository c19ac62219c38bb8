"""Pictures of detections: boxes and masks in the colours of their classes, where they belong."""

import numpy as np
import torch
from torch import Tensor

from src.drawing.boxes import GAP, HEADING, IGNORED, MIN_SCORE, SIDE, detection_sheet, drawn
from src.drawing.colours import palette

NAMES = ["cat", "<b>dog</b>\n%s"]  # names may come from strangers
GREY = torch.full((3, 160, 160), 90, dtype=torch.uint8)


def objects(**others: Tensor) -> dict[str, Tensor]:
    return {"boxes": torch.tensor([[20.0, 60.0, 120.0, 140.0]]), "labels": torch.tensor([1]), **others}


def colour(index: int) -> list[int]:
    return [int(value) for value in palette(len(NAMES))[index]]


def test_a_box_has_the_colour_of_its_class_and_the_place_of_its_object() -> None:
    picture = drawn(GREY, objects(), NAMES)
    assert picture.shape == (3, SIDE, SIDE)
    for y, x in ((279, 150), (200, 40), (200, 239)):  # lower, left and right edge, twice as large
        assert picture[:, y, x].tolist() == colour(1)
    assert picture[:, 240, 140].tolist() == [90, 90, 90]
    assert picture[:, 300, 140].tolist() == [90, 90, 90]


def test_an_ignored_object_has_a_colour_of_its_own() -> None:
    picture = drawn(GREY, objects(ignored=torch.tensor([True])), NAMES)
    assert picture[:, 279, 150].tolist() == list(IGNORED)
    assert list(IGNORED) not in palette(341).tolist()


def test_a_mask_tints_its_pixels_only() -> None:
    mask = torch.zeros(1, 160, 160, dtype=torch.uint8)
    mask[0, 80:120, 40:100] = 1
    picture = drawn(GREY, objects(masks=mask), NAMES)
    assert picture[:, 200, 150].tolist() != [90, 90, 90]
    assert picture[:, 130 * 2, 150].tolist() == [90, 90, 90]


def test_nothing_found_leaves_the_image() -> None:
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "masks": torch.zeros(0, 160, 160)}
    assert (drawn(GREY, none, NAMES) == 90).all()


def test_the_sheet_shows_image_truth_and_sure_detections() -> None:
    found = {
        "boxes": torch.tensor([[20.0, 60.0, 120.0, 140.0], [4.0, 4.0, 156.0, 156.0]]),
        "labels": torch.tensor([1, 0]),
        "scores": torch.tensor([0.9, MIN_SCORE - 0.01]),
    }
    flat = torch.full((3, 80, 160), 90, dtype=torch.uint8)
    sheet = np.asarray(detection_sheet([(GREY, objects(), found), (flat, objects(), found)], NAMES))
    assert sheet.shape == (HEADING + SIDE + SIDE // 2 + 2 * GAP, 3 * (SIDE + GAP) + GAP, 3)
    first, second, third = (sheet[HEADING : HEADING + SIDE, GAP + part * (SIDE + GAP) :][:, :SIDE] for part in range(3))
    assert (first == 90).all()
    assert second[279, 150].tolist() == third[279, 150].tolist() == colour(1)
    assert third[300, 8].tolist() == [90, 90, 90]  # the box that is not sure is not drawn
