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

from src.data.eval_datasets import ScoredImages
from src.data.reading import Reader
from src.images.reading import open_image, open_label
from src.images.resizing import evaluation_crop
from tests.conftest import SHARED, Golden
from tests.data.arrays import Arrays
from tests.factories import paper
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


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA", "RGB with a colour", "L with a grey"])
def test_what_is_transparent_becomes_white(tmp_path: Path, mode: str) -> None:
    """Left transparent, right opaque, the colour below both the same."""
    path = tmp_path / ("image.tif" if mode == "PA" else "image.png")
    pixels = np.full((4, 6), 90, np.uint8)
    pixels[:, :3] = 40
    alpha = np.where(pixels == 40, 0, 255).astype(np.uint8)
    grey = Image.fromarray(pixels)
    if mode == "P":
        grey.convert("P").save(path, transparency=40)
    elif mode == "RGB with a colour":
        grey.convert("RGB").save(path, transparency=(40, 40, 40))
    elif mode == "L with a grey":
        grey.save(path, transparency=40)
    else:
        image = grey.convert("L" if mode == "LA" else "RGB").convert("RGBA" if mode == "PA" else mode)
        image.putalpha(Image.fromarray(alpha))
        (image.convert("PA") if mode == "PA" else image).save(path)
    found = np.asarray(open_image(path))
    assert found.shape == (4, 6, 3)
    assert (found[:, :3] == 255).all()
    assert (found[:, 3:] == 90).all()


def test_half_transparent_pixels_are_mixed_with_white(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (55, 155, 255, 51)).save(tmp_path / "image.png")  # a fifth of the colour
    assert open_image(tmp_path / "image.png").getpixel((1, 1)) == (215, 235, 255)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_greys_are_scaled(tmp_path: Path, suffix: str) -> None:
    levels = np.array([[0, 128, 129, 257 * 100, 65535]], np.uint16)  # 128 / 257 < 0.5 < 129 / 257
    Image.fromarray(levels).save(tmp_path / f"image.{suffix}")
    found = np.asarray(open_image(tmp_path / f"image.{suffix}"))
    assert found[0].tolist() == [[grey] * 3 for grey in (0, 0, 1, 100, 255)]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_values_without_a_known_range_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new("L", (3, 3), 7).convert(mode).save(tmp_path / "image.tif")
    refusal(lambda: open_image(tmp_path / "image.tif"), tmp_path / "image.tif", f"mode {mode}", "replace or remove")


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


def test_preparation_equals_the_release(golden: Golden) -> None:
    case = golden("dataset")
    facts = json.loads((SHARED / "reference" / "golden" / "fine_to_coarse.json").read_text(encoding="utf-8"))
    coarse = np.full(256, 255, np.uint8)
    coarse[:182] = facts["fine_to_coarse"]
    images = [case[f"image{k}"] for k in range(6)]
    labels = [coarse[case[f"fine_label{k}"]] for k in range(6)]
    arrays = Arrays(images, labels)
    dataset = ScoredImages(arrays, Reader(arrays, "raise", 0), paper(), facts["coarse_names"])
    for k in range(6):
        levels = 255 * (case[f"eval_image_{k}"].transpose(1, 2, 0) * IMAGENET_STD + IMAGENET_MEAN)
        np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)
        np.testing.assert_array_equal(dataset[k]["image"].permute(1, 2, 0).numpy(), np.rint(levels))
        expected = np.where(case[f"eval_label_{k}"] < 0, 255, case[f"eval_label_{k}"])
        np.testing.assert_array_equal(dataset[k]["label"].numpy(), expected)
        at_64 = evaluation_crop(Image.fromarray(images[k]), 64, Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(np.asarray(at_64), case[f"shared_{k}"])


@pytest.mark.parametrize(
    "shape",
    [(98, 49), (49, 98), (64, 48), (48, 65), (500, 333), (33, 100), (32, 32), (5, 9), (39, 117), (160, 20), (20, 160)],
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


@pytest.mark.parametrize("shape", [(1, 10_000), (10_000, 1), (3, 20_000)])
@pytest.mark.parametrize("resample", [Image.Resampling.BILINEAR, Image.Resampling.NEAREST])
def test_a_very_long_image_is_cut_before_it_grows(
    shape: tuple[int, int], resample: Image.Resampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resized whole, 1 x 10,000 pixels would become 32 x 320,000."""
    resize, sizes = Image.Image.resize, []

    def watched(image: Image.Image, size: tuple[int, int], *options: Any) -> Image.Image:
        sizes.append(size)
        return resize(image, size, *options)

    monkeypatch.setattr(Image.Image, "resize", watched)
    pixels = np.zeros(shape, np.uint8)
    pixels[tuple(slice(side // 2 - 30, side // 2 + 30) if side > 100 else slice(None) for side in shape)] = 200
    found = np.asarray(evaluation_crop(Image.fromarray(pixels), 32, resample))
    assert found.shape == (32, 32)
    assert (found == 200).all()  # of its centre
    assert len(sizes) == 1
    assert max(sizes[0]) <= 9 * 32


@pytest.mark.parametrize("width", [40, 41, 320, 321, 322, 400, 401])
def test_a_cut_keeps_the_centre_in_the_centre(width: int) -> None:
    """Up to 8 : 1 nothing is cut; beyond, what is left stays symmetrical."""
    pixels = np.abs(np.arange(width) - (width - 1) / 2)
    image = Image.fromarray(np.tile(pixels.astype(np.uint8), (40, 1)))
    found = np.asarray(evaluation_crop(image, 40, Image.Resampling.BILINEAR)).astype(int)
    middle = (width - 40) // 2
    expected = np.asarray(image)[:, middle : middle + 40].astype(int)
    assert np.abs(found - expected).max() <= 1
