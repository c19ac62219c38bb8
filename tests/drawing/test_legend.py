"""Legends, label maps with a palette, and overlays."""

import numpy as np
import pytest
from PIL import Image

from src.drawing.colours import index_image, overlay, palette
from src.drawing.legend import legend


def test_a_legend_shows_every_colour() -> None:
    colours = palette(5)[:-1]
    picture = legend(colours, [f"class {k}" for k in range(5)], "five classes")
    shown = {colour for _, colour in picture.getcolors(100_000) or []}
    assert {tuple(map(int, colour)) for colour in colours} <= shown


@pytest.mark.parametrize("number", [0, 1, 33, 200])
def test_a_legend_of_any_length(number: int) -> None:
    picture = legend(palette(number)[:-1], ["x" * 40] * number)
    assert picture.height < 1000


def test_the_index_image_keeps_the_labels_and_holds_the_colours() -> None:
    clusters = np.array([[0, 1], [2, 1]], dtype=np.uint8)
    colours = palette(3)[:-1]
    image = index_image(clusters, colours)
    assert image.mode == "P"
    assert np.array_equal(image, clusters)
    assert np.array_equal(image.convert("RGB"), colours[clusters])


def test_an_overlay_is_half_image_and_half_colour() -> None:
    clusters = index_image(np.zeros((2, 2), np.uint8), np.array([[100, 0, 200]], np.uint8))
    tinted = overlay(Image.new("RGB", (2, 2), (50, 100, 0)), clusters)
    assert tinted.getpixel((0, 0)) == (75, 50, 100)


def test_colours_are_different_and_then_repeat() -> None:
    colours = palette(600)
    assert len(np.unique(colours[:341], axis=0)) == 341
    assert np.array_equal(colours[341:600], colours[:259])
    assert colours[-1].tolist() == [0, 0, 0]
