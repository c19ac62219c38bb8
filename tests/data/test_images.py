"""Opening images and labels, and preparing them for scoring as the release does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as release  # the release prepares images with torchvision's functions

from src.data.images import ScoredImages, evaluation_crop, open_image, open_label
from tests.conftest import SHARED, Golden
from tests.refusals import refusal

IMAGENET_MEAN, IMAGENET_STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.mark.parametrize(("mode", "suffix"), [("L", "jpg"), ("L", "png"), ("P", "png"), ("RGBA", "png"), ("LA", "png")])
def test_images_become_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    image = Image.new("RGB", (7, 5), (120, 120, 120))
    (image.quantize(4) if mode == "P" else image.convert(mode)).save(path)
    found = open_image(path)
    assert (found.mode, found.size) == ("RGB", (7, 5))
    assert np.abs(np.asarray(found).astype(int) - 120).max() <= 2


def test_palettes_with_transparency_are_read_without_a_warning(tmp_path: Path) -> None:
    image = Image.new("RGB", (7, 5), (120, 60, 30)).quantize(4)
    image.save(tmp_path / "image.png", transparency=bytes([255, 200, 100, 0]))
    found = open_image(tmp_path / "image.png")
    assert found.mode == "RGB"
    assert found.getpixel((0, 0)) == (120, 60, 30)


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    pixels = np.zeros((6, 10, 3), np.uint8)
    pixels[:, :5] = (250, 0, 0)  # left half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: left becomes top
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    found = np.asarray(open_image(tmp_path / "turned.png"))
    assert found.shape == (10, 6, 3)
    assert (found[:5] == (250, 0, 0)).all()
    assert not found[5:].any()


def test_palette_labels_keep_their_indices(tmp_path: Path) -> None:
    values = np.array([[0, 1], [2, 255]], np.uint8)
    image = Image.fromarray(values).convert("P")
    image.putdata(values.flatten().tolist())
    image.putpalette([7, 8, 9] * 256)
    image.save(tmp_path / "label.png")
    np.testing.assert_array_equal(np.asarray(open_label(tmp_path / "label.png")), values)


@pytest.mark.parametrize("reader", [open_image, open_label])
@pytest.mark.parametrize("damage", ["next chunk", "short header"])
def test_a_broken_png(labelled_root: Path, reader: Callable[[Path], Any], damage: str) -> None:
    """Pillow raises a SyntaxError for the one and a ValueError for the other."""
    path = labelled_root / "labels" / "val" / "scene8.png"
    content = bytearray(path.read_bytes())
    if damage == "next chunk":
        content[content.index(b"IDAT") - 1] -= 10  # its length, so that the next one is looked for in its midst
    else:
        content[11] = 5  # the header's length
    path.write_bytes(content)
    refusal(lambda: reader(path), path, "can't read")


class Arrays:
    """Labelled images from arrays."""

    def __init__(self, images: list[np.ndarray], labels: list[np.ndarray]) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> Image.Image:
        return Image.fromarray(self.images[index])

    def label(self, index: int) -> Image.Image:
        return Image.fromarray(self.labels[index])

    def name(self, index: int) -> str:
        return f"array {index}"


def test_preparation_equals_the_release(golden: Golden) -> None:
    case = golden("dataset")
    facts = json.loads((SHARED / "reference" / "golden" / "fine_to_coarse.json").read_text(encoding="utf-8"))
    coarse = np.full(256, 255, np.uint8)
    coarse[:182] = facts["fine_to_coarse"]
    images = [case[f"image{k}"] for k in range(6)]
    labels = [coarse[case[f"fine_label{k}"]] for k in range(6)]
    dataset = ScoredImages(Arrays(images, labels), 32, facts["coarse_names"])
    for k in range(6):
        levels = 255 * (case[f"eval_image_{k}"].transpose(1, 2, 0) * IMAGENET_STD + IMAGENET_MEAN)
        np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)
        np.testing.assert_array_equal(dataset[k]["image"].permute(1, 2, 0).numpy(), np.rint(levels))
        expected = np.where(case[f"eval_label_{k}"] < 0, 255, case[f"eval_label_{k}"])
        np.testing.assert_array_equal(dataset[k]["label"].numpy(), expected)
        at_64 = evaluation_crop(Image.fromarray(images[k]), 64, Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(np.asarray(at_64), case[f"shared_{k}"])


@pytest.mark.parametrize(
    "shape", [(98, 49), (49, 98), (64, 48), (48, 65), (500, 333), (33, 100), (32, 32), (5, 9), (39, 117)]
)
@pytest.mark.parametrize("size", [32, 33])
def test_preparation_equals_torchvision(shape: tuple[int, int], size: int) -> None:
    """49 x 98 to 32 is where 98 * (32 / 49) and 32 * 98 / 49 are cut to different whole numbers."""
    pixels = np.random.default_rng(0).integers(0, 256, (shape[1], shape[0], 3), dtype=np.uint8)
    for image, ours, theirs in (
        (Image.fromarray(pixels), Image.Resampling.BILINEAR, InterpolationMode.BILINEAR),
        (Image.fromarray(pixels[..., 0].copy()), Image.Resampling.NEAREST, InterpolationMode.NEAREST),
    ):
        expected = release.center_crop(release.resize(image, [size], theirs), [size])
        np.testing.assert_array_equal(np.asarray(evaluation_crop(image, size, ours)), np.asarray(expected))
