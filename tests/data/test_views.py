"""The two views: cut where their boxes say, and coloured apart."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from src.data.colours import ColourAugmentation, blur_weights, blurred
from src.data.views import CropAndWhole
from src.errors import DenseSiamError
from src.geometry import box_grid, sample_boxes
from src.images.resizing import to_tensor
from tests.factories import COLOURS, noise_image

SIZE = 16
SHAPES = [(60, 60), (63, 48), (42, 61)]  # (width, height)
SLOPE = 4  # grey levels per pixel of `ramp`


def colours(**changes: Any) -> ColourAugmentation:
    """A `ColourAugmentation` that does nothing but what `changes` says."""
    nothing = dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.0)
    never = dict.fromkeys(("jitter_probability", "grey_probability", "blur_probability"), 0.0)
    return ColourAugmentation(**(nothing | never | {"blur_sigma": (0.1, 1.0)} | changes))


def crop_and_whole(**changes: Any) -> CropAndWhole:
    options = {"size": SIZE, "crop_scale": (0.5, 1.0), "flip_probability": 0.5, "colour": colours()}
    return CropAndWhole(**(options | changes))


def ramp(width: int, height: int) -> Image.Image:
    """Every pixel tells where it is: red by its column, green by its row."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = SLOPE * np.arange(width)
    pixels[..., 1] = SLOPE * np.arange(height)[:, None]
    return Image.fromarray(pixels)


def places(view: Tensor) -> Tensor:
    """Where the pixels of a view of `ramp` come from, (2, H, W): x and y in pixels of the source."""
    return view[:2].float() / SLOPE + 0.5


@pytest.mark.parametrize(("width", "height"), SHAPES)
def test_the_boxes_say_exactly_where_the_views_lie(width: int, height: int) -> None:
    """To a fraction of a pixel: a crop rounded to whole pixels would be off by up to 0.5."""
    side, flips = min(width, height), set()
    corner = torch.tensor([(width - side) / 2, (height - side) / 2])
    for seed in range(30):
        torch.manual_seed(seed)
        sample = crop_and_whole()(ramp(width, height))
        assert sample["valid"] is True
        for view, box in zip(sample["views"], sample["boxes"], strict=True):
            found = sample_boxes(places(view)[None], box[None], (SIZE, SIZE))[0]
            # what view 2's box says is said about the centre square
            expected = corner + side * box_grid(sample["boxes"][1:], (SIZE, SIZE))[0]
            error = (found - expected.permute(2, 0, 1))[:, 2:-2, 2:-2]  # away from where the image ends
            assert error.mean(dim=(1, 2)).abs().max() < 0.1
            assert error.abs().max() < 0.3
        flips.add(bool(sample["boxes"][0, 0] > sample["boxes"][0, 2]))
    assert flips == {False, True}


@pytest.mark.parametrize(("width", "height"), SHAPES)
def test_view_two_inside_its_box_is_view_one(width: int, height: int) -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        sample = crop_and_whole()(ramp(width, height))
        views = torch.stack(sample["views"]).float()
        first, second = sample_boxes(views, sample["boxes"], (SIZE, SIZE))[:, :, 2:-2, 2:-2]
        assert (first - second).abs().max() < 2.5  # 8-bit rounding, twice, of values that span 100 and more
        assert views[0].flatten(1).std(dim=1)[:2].min() > 10


@pytest.mark.parametrize(("width", "height"), SHAPES)
def test_each_view_can_be_rebuilt_from_the_source(width: int, height: int) -> None:
    side, image = min(width, height), noise_image(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    for seed in range(20):
        torch.manual_seed(seed)
        sample = crop_and_whole()(image)
        crop, whole = sample["boxes"].tolist()
        mirrored = crop[0] > crop[2]
        assert crop == pytest.approx([1, 0, 0, 1] if mirrored else [0, 0, 1, 1], abs=1e-6)
        for view, (x0, y0, x1, y1), flip in zip(sample["views"], (whole, (0, 0, 1, 1)), (mirrored, False), strict=True):
            box = (left + x0 * side, top + y0 * side, left + x1 * side, top + y1 * side)
            inside = tuple(min(max(value, 0), limit) for value, limit in zip(box, (width, height) * 2, strict=True))
            rebuilt = to_tensor(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, inside))
            rebuilt = rebuilt.flip(2) if flip else rebuilt
            assert (view.int() - rebuilt.int()).abs().max() <= 1


def test_the_crop_lies_in_the_whole_and_keeps_its_bounds() -> None:
    views = crop_and_whole(size=4, crop_scale=(0.3, 0.8))
    boxes = []
    for seed in range(300):
        torch.manual_seed(seed)
        boxes.append(views(noise_image(9, 8))["boxes"][1])
    x0, y0, x1, y1 = torch.stack(boxes).unbind(1)
    for low, high in ((x0, x1), (y0, y1)):
        assert low.min() >= 0
        assert high.max() <= 1
        assert low.min() < 0.05  # it reaches both ends
        assert high.max() > 0.95
        assert (high - low).min() >= 0.3 - 1e-6
        assert (high - low).max() <= 0.8 + 1e-6
        assert (high - low).min() < 0.33
        assert (high - low).max() > 0.77
    torch.testing.assert_close(x1 - x0, y1 - y0)  # square
    assert torch.corrcoef(torch.stack((x0, y0)))[0, 1] < 0.6  # across and down are drawn apart


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_flips_come_as_often_as_they_should(probability: float) -> None:
    views, count = crop_and_whole(size=2, flip_probability=probability), 0
    for seed in range(500):
        torch.manual_seed(seed)
        box = views(noise_image(4, 4))["boxes"]
        count += int(box[0, 0] > box[0, 2])
        assert box[1, 0] < box[1, 2]  # view 2 never is
    assert abs(count - 500 * probability) <= 4 * (500 * probability * (1 - probability)) ** 0.5


@pytest.mark.parametrize(("width", "height"), [(60, 30), (30, 60)])
def test_both_views_come_from_the_centre_square(width: int, height: int) -> None:
    """The margins are red; only the outermost pixels may be tinged by them, as antialiasing reads over the edge."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = 255
    pixels[(height - 30) // 2 : (height + 30) // 2, (width - 30) // 2 : (width + 30) // 2] = (0, 0, 255)
    for seed in range(20):
        torch.manual_seed(seed)
        for view in crop_and_whole()(Image.fromarray(pixels))["views"]:
            assert (view[:, 1:-1, 1:-1] == torch.tensor([0, 0, 255]).view(3, 1, 1)).all()
            assert view[0].max() < 60


def test_without_colours_views_keep_the_pixels() -> None:
    grey = Image.new("RGB", (20, 30), (90, 120, 150))
    for view in crop_and_whole()(grey)["views"]:
        assert (view == torch.tensor([90, 120, 150]).view(3, 1, 1)).all()


def test_each_view_draws_its_own_colours() -> None:
    plain = Image.new("RGB", (20, 20), (90, 120, 150))
    views, different = crop_and_whole(colour=colours(brightness=0.3, jitter_probability=1.0)), 0
    for seed in range(20):
        torch.manual_seed(seed)
        first, second = (view.float().mean(dim=(1, 2)) for view in views(plain)["views"])
        different += int((first - second).abs().max() > 2)
    assert different >= 15


@pytest.mark.parametrize("size", [8, 33])
def test_views_are_contiguous_bytes(size: int) -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        sample = crop_and_whole(size=size, colour=COLOURS)(noise_image(40, 30))
        for view in sample["views"]:
            assert view.dtype == torch.uint8
            assert view.shape == (3, size, size)
            assert view.is_contiguous()
        assert sample["boxes"].shape == (2, 4)
        assert sample["boxes"].dtype == torch.float32


@pytest.mark.parametrize("scale", [(0.0, 1.0), (1e-310, 1.0), (-0.5, 1.0), (0.8, 0.5), (0.5, 1.2), (float("nan"), 1.0)])
def test_impossible_crop_scales_are_refused(scale: tuple[float, float]) -> None:
    with pytest.raises(DenseSiamError, match=r"expected two finite numbers from 0\.0001 to 1, the smallest") as caught:
        crop_and_whole(crop_scale=scale)
    assert str(list(scale)) in str(caught.value)
    assert crop_and_whole(crop_scale=(1.0, 1.0))(ramp(10, 10))["boxes"][1].tolist() == [0, 0, 1, 1]
    assert crop_and_whole(crop_scale=(1e-4, 1e-4))(ramp(10, 10))["valid"]


STRIPES = torch.zeros(3, 12, 12, dtype=torch.uint8)
STRIPES[0, :, ::2], STRIPES[2, :, 1::2] = 250, 90
PARTS = {
    "jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.2},
    "grey": {},
    "blur": {"blur_sigma": (0.8, 0.9)},
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("probability", [0.0, 0.4, 1.0])
def test_colour_probabilities(part: str, probability: float) -> None:
    transform, changed = colours(**PARTS[part], **{f"{part}_probability": probability}), 0
    for seed in range(200):
        torch.manual_seed(seed)
        changed += int((transform(STRIPES) != STRIPES).any())
    assert abs(changed - 200 * probability) <= 4 * (200 * probability * (1 - probability)) ** 0.5


def test_grey_is_grey_and_keeps_three_channels() -> None:
    found = colours(grey_probability=1.0)(STRIPES)
    assert found.shape == STRIPES.shape
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()
    assert found.float().std() > 1


@pytest.mark.parametrize("sigma", [0.6, 1.5])
def test_blur_is_as_wide_as_its_sigma(sigma: float) -> None:
    point = torch.zeros(3, 31, 31, dtype=torch.float32)
    point[:, 15, 15] = 1e6  # the blur rounds
    found = blurred(point[None], blur_weights(sigma, round(3 * sigma))[None])[0, 0] / 1e6
    assert found.sum() == pytest.approx(1, abs=1e-4)
    offsets = torch.arange(31.0) - 15
    assert float((found.sum(0) * offsets**2).sum()) ** 0.5 == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize("strength", ["brightness", "contrast", "saturation", "hue"])
def test_every_strength_of_the_jitter_counts(strength: str) -> None:
    torch.manual_seed(0)
    transform = colours(**{strength: 0.4}, jitter_probability=1.0)
    assert any((transform(STRIPES) != STRIPES).any() for _ in range(5))
