"""JPEG files that are much larger than the views are decoded at a fraction of their size; the views stay the same."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from benchmarks.loading import photograph
from src.data.folder import FileImages
from src.data.reading import Reader
from src.data.sampling import SampleKey
from src.data.views import CropAndWhole, TwoCrops, TwoViews, ViewPairs
from src.geometry import Crop
from src.images.listing import list_images
from src.images.reading import open_image
from tests.data.arrays import Arrays, flat
from tests.refusals import refusal

WHOLE = CropAndWhole(32, (0.5, 1.0), 0.5, nn.Identity())
CROPS = TwoCrops(32, (0.2, 1.0), (0.75, 4 / 3), 0.15, 10, 0.5, nn.Identity())


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photograph of 640 x 480 pixels that its EXIF data turns by 90 degrees."""
    path, exif = tmp_path / "photo.jpg", Image.Exif()
    exif[0x0112] = 6
    photograph(0).save(path, quality=92, exif=exif)
    return path


@pytest.mark.parametrize(
    ("least", "size"),
    [(None, (480, 640)), (481, (480, 640)), (241, (480, 640)), (240, (240, 320)), (121, (240, 320)), (1, (60, 80))],
)
def test_a_jpeg_keeps_at_least_so_many_pixels(least: int | None, size: tuple[int, int], photo: Path) -> None:
    assert open_image(photo, least).size == size


def test_only_a_jpeg_is_reduced_and_checks_stay(photo: Path, tmp_path: Path) -> None:
    photograph(1).save(tmp_path / "a.png")
    assert open_image(tmp_path / "a.png", 10).size == (640, 480)
    content = photo.read_bytes()
    (tmp_path / "half.jpg").write_bytes(content[: len(content) // 2])
    (tmp_path / "zeros.jpg").write_bytes(content[: len(content) // 2] + bytes(4096))
    for name in ("half.jpg", "zeros.jpg"):
        refusal(lambda name=name: open_image(tmp_path / name, 10), "can't read the image", name)


@pytest.mark.parametrize("views", [WHOLE, CROPS])
def test_no_crop_of_a_reduced_image_is_enlarged(views: TwoViews, monkeypatch: pytest.MonkeyPatch) -> None:
    crops: list[Crop] = []
    monkeypatch.setattr("src.data.views.view", lambda image, crop, size: crops.append(crop) or torch.zeros(1))
    for size in ((views.least, views.least), (2 * views.least, views.least), (views.least, 3 * views.least)):
        for seed in range(150):
            torch.manual_seed(seed)
            views(Image.new("RGB", size))
    smallest = min(min(crop.width, crop.height) for crop in crops)
    assert 32 - 1 <= smallest < 32 * 1.15  # crops of pre-training have whole pixels


def test_views_of_a_reduced_image_are_those_of_the_whole(photo: Path) -> None:
    """On average to 3 grey levels, and as sharp to a tenth."""
    images = FileImages(list_images(photo.parent))
    pairs, whole = (ViewPairs(Reader(each, "raise", 0), WHOLE, seed=0) for each in (images, WholeFiles(images)))
    assert open_image(photo, WHOLE.least).size == (120, 160)
    for epoch in range(10):
        found, expected = (each[SampleKey(epoch, 0)] for each in (pairs, whole))
        torch.testing.assert_close(found["boxes"], expected["boxes"])
        for one, other in zip(found["views"], expected["views"], strict=True):
            assert (one.int() - other.int()).abs().float().mean() < 3
            edges = [float(np.abs(np.diff(each.numpy().astype(int))).mean()) for each in (one, other)]
            assert edges[0] == pytest.approx(edges[1], rel=0.1)


class WholeFiles:
    """Images that can't be reduced."""

    def __init__(self, images: FileImages) -> None:
        self.image, self.image_name, self.count = images.image, images.image_name, len(images)

    def __len__(self) -> int:
        return self.count


def test_images_without_files_are_read_as_they_are() -> None:
    sample = ViewPairs(Reader(Arrays(flat(3)), "raise", 0), WHOLE, seed=0)[SampleKey(0, 1)]
    assert sample["views"][0].shape == (3, 32, 32)
