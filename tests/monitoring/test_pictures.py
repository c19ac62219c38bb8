"""Pictures: colours that can be told apart, and every tile and legend entry in its place."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.drawing.colours import paint, palette
from src.drawing.contact_sheet import contact_sheet

NAMES = [f"rawmaterial-s {index}" for index in range(27)]  # as long as the longest of the benchmark's


@pytest.mark.parametrize("count", [1, 3, 8, 11, 27])
def test_colours_can_be_told_apart(count: int) -> None:
    colours = palette(count)
    assert colours.shape == (count + 1, 3)
    assert colours.dtype == np.uint8
    assert colours[-1].tolist() == [0, 0, 0]
    distance = np.linalg.norm(colours[:, None].astype(float) - colours[None], axis=2)
    assert distance[~np.eye(count + 1, dtype=bool)].min() > 40


def test_paint_gives_classes_their_colours_and_the_rest_black() -> None:
    colours = palette(3)
    for classes in (torch.tensor([[0, 1, 2], [-1, -2, 255]]), torch.tensor([[0, 1, 2], [4, 3, 255]]).byte()):
        painted = paint(classes, colours)
        assert painted.dtype == np.uint8
        assert painted.shape == (2, 3, 3)
        np.testing.assert_array_equal(painted[0], colours[:3])
        assert not painted[1].any()


def some_rows(count: int, side: int = 32, classes: int = 27) -> list[tuple[Tensor, Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.randint(0, 256, (3, side, side), generator=generator).byte(),
            torch.randint(0, classes + 1, (side, side), generator=generator),
            torch.randint(-1, classes, (side, side), generator=generator),
        )
        for _ in range(count)
    ]


def find(sheet: NDArray[np.uint8], tile: NDArray[np.uint8]) -> tuple[int, int]:
    """The only place (y, x) at which the sheet shows exactly these pixels."""
    height, width = tile.shape[:2]
    starts = np.argwhere((sheet[: 1 - height, : 1 - width] == tile[0, 0]).all(axis=2))
    hits = [(y, x) for y, x in starts if np.array_equal(sheet[y : y + height, x : x + width], tile)]
    assert len(hits) == 1
    return int(hits[0][0]), int(hits[0][1])


@pytest.mark.parametrize("count", [1, 4, 5, 9])
def test_every_picture_is_in_its_place(count: int) -> None:
    rows, colours = some_rows(count), palette(27)
    sheet = np.asarray(contact_sheet(rows, NAMES))
    found = []
    for image, label, prediction in rows:
        tiles = (image.permute(1, 2, 0).numpy(), paint(label, colours), paint(prediction, colours))
        places = [find(sheet, tile) for tile in tiles]
        assert len({y for y, _ in places}) == 1  # side by side: image, label, prediction
        assert places[0][1] + 32 <= places[1][1]
        assert places[1][1] + 32 <= places[2][1]
        found.append(places[0])
    assert found == sorted(found)  # in reading order
    for index, (y, x) in enumerate(found):
        for other_y, other_x in found[:index]:
            assert abs(y - other_y) >= 32 or abs(x - other_x) >= 3 * 32
    if count <= 4:
        assert len({x for _, x in found}) == 1  # one row per image


@pytest.mark.parametrize("side", [32, 64, 128, 320])
@pytest.mark.parametrize("count", [1, 6])
def test_the_legend_fits_and_is_in_order(side: int, count: int) -> None:
    rows, colours = some_rows(count, side), palette(27)
    sheet = np.asarray(contact_sheet(rows, NAMES))
    last = paint(rows[-1][2], colours)
    legend = sheet[find(sheet, last)[0] + side :]
    corners = []
    for colour in colours:
        same = (legend == colour).all(axis=2)
        ys, xs = np.nonzero(np.lib.stride_tricks.sliding_window_view(same, (10, 10)).all(axis=(2, 3)))
        assert len(ys) > 0  # a solid square, and only one
        assert max(np.ptp(ys), np.ptp(xs)) < 10
        corners.append((int(ys.min()), int(xs.min())))
    assert corners == sorted(corners)
    assert (legend[-2:] == 255).all()  # nothing is cut off, below or at the right
    assert (legend[:, -2:] == 255).all()


def test_few_classes_need_a_short_legend() -> None:
    few, many = (contact_sheet(some_rows(2, classes=n), [f"class {k}" for k in range(n)]) for n in (2, 27))
    assert few.width == many.width
    assert few.height < many.height


def test_the_legend_names_the_classes() -> None:
    first = contact_sheet(some_rows(1, classes=3), ["sky", "grass", "cat"])
    second = contact_sheet(some_rows(1, classes=3), ["sky", "grass", "dog"])
    assert first.size == second.size
    assert first.tobytes() != second.tobytes()


def test_images_of_other_sizes_are_fitted_into_their_places() -> None:
    """As `protocol=original_size` gives them: each row of its own size, labels perhaps larger than what was seen."""
    first = (torch.full((3, 20, 30), 9, dtype=torch.uint8), torch.zeros(20, 30).long(), torch.zeros(20, 30).long())
    tall = (torch.full((3, 80, 30), 9, dtype=torch.uint8), torch.zeros(160, 60).long(), torch.zeros(160, 60).long())
    alike, mixed = (np.asarray(contact_sheet(rows, ["sky"])) for rows in ([first, first], [first, tall]))
    assert alike.shape == mixed.shape
    drawn = (alike != mixed).any(axis=(1, 2))
    second = alike.shape[0] - drawn[::-1].argmax() - drawn.argmax()
    assert drawn.any()
    assert second <= 20  # only the second row differs, and stays in its 20 lines
