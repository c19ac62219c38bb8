"""What may be given to `predict`: every accepted form of one image gives the same image; other forms are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from src.images.reading import UnreadableFileError
from src.prediction.inputs import as_image, as_list, check_shape
from tests.factories import noise_image
from tests.refusals import refusal

IMAGE = noise_image(20, 10)
PIXELS = np.asarray(IMAGE)


def test_all_forms_of_an_image_are_the_same(tmp_path: Path) -> None:
    IMAGE.save(tmp_path / "a b ü.png")
    tensor = torch.from_numpy(PIXELS.copy()).permute(2, 0, 1)
    forms: list[Any] = [IMAGE, IMAGE.convert("RGBA"), PIXELS, PIXELS / 255, np.float32(PIXELS) / np.float32(255)]
    forms += [
        tensor,
        tensor / 255,
        (tensor / 255).requires_grad_(),
        tmp_path / "a b ü.png",
        str(tmp_path / "a b ü.png"),
    ]
    for form in forms:
        assert np.array_equal(as_image(form), PIXELS)


def test_grey_images_become_rgb() -> None:
    grey = PIXELS[:, :, 0]
    for form in (grey, grey[:, :, None], torch.from_numpy(grey.copy())[None], Image.fromarray(grey)):
        assert np.array_equal(as_image(form), np.repeat(grey[:, :, None], 3, 2))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (PIXELS.astype(np.int64), "found values of type int64: expected uint8, or floats in [0, 1]"),
        (PIXELS.astype(np.float64), "found values from 0 to 255: expected floats in [0, 1], or uint8"),
        (np.full((9, 9, 3), -0.1), "found values from -0.1 to -0.1"),
        (np.full((9, 9, 3), np.nan), "found values from nan to nan"),
        (np.zeros((3, 10, 20), np.uint8), "found an array of shape (3, 10, 20): expected (H, W, 3)"),
        (np.zeros((0, 10, 3), np.uint8), "found an array of shape (0, 10, 3)"),
        (torch.zeros(10, 20, 3), "found a tensor of shape (10, 20, 3): expected (3, H, W)"),
        (torch.full((3, 9, 9), 7), "found values of type int64"),
        (7, "found an image of type int"),
        (None, "found an image of type NoneType"),
        (noise_image(7, 40), "7 x 40 pixels: expected at least 8"),
        (noise_image(1000, 10), "1000 x 10 pixels: expected a longer side of at most 32 times the shorter"),
    ],
)
def test_other_forms_are_refused(given: Any, message: str) -> None:
    refusal(lambda: as_image(given), message)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"absent\.png"):
        as_image(tmp_path / "absent.png")


def test_the_limits_of_a_shape_are_allowed() -> None:
    check_shape((8, 8))
    check_shape((256, 8))


def test_lists_and_batches_are_several_images() -> None:
    assert as_list(IMAGE) == ([IMAGE], True)
    assert as_list([IMAGE, IMAGE]) == ([IMAGE, IMAGE], False)
    several, is_one = as_list(torch.zeros(2, 3, 9, 9))
    assert not is_one
    assert [tuple(one.shape) for one in several] == [(3, 9, 9)] * 2


def test_a_pil_image_is_read_as_its_file_is(tmp_path: Path) -> None:
    deep = Image.fromarray((np.arange(400, dtype=np.uint16) * 160).reshape(20, 20))
    clear = Image.new("RGBA", (10, 10), (200, 0, 0, 0))
    for place, image in enumerate((deep, clear)):
        path = tmp_path / f"{place}.png"
        image.save(path)
        with Image.open(path) as opened:
            assert np.array_equal(as_image(opened), as_image(path))
    refusal(lambda: as_image(Image.fromarray(np.full((9, 9), 0.5, np.float32))), "expected 8-bit values")
