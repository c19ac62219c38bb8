"""Both views' grids show the same places: against the source image, loops and the release's crops."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from src.data.views import view
from src.geometry import Crop, box_grid, overlap_boxes, sample_boxes
from tests import naive
from tests.conftest import Golden

FULL, MIRRORED = [0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0]
SOURCE = (200, 150)  # width and height of the source images below

many = settings(max_examples=200, deadline=None, derandomize=True)
few = settings(max_examples=40, deadline=None, derandomize=True)
sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))
fractions = st.floats(0, 1, width=32)
boxes_anywhere = st.lists(fractions, min_size=4, max_size=4)


@st.composite
def crops(draw: st.DrawFn) -> Crop:
    width, height = draw(st.floats(20, SOURCE[0])), draw(st.floats(20, SOURCE[1]))
    left, top = draw(fractions) * (SOURCE[0] - width), draw(fractions) * (SOURCE[1] - height)
    return Crop(left, top, width, height, draw(st.booleans()))


def random_features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def coordinates(crop: Crop, height: int, width: int) -> Tensor:
    """(1, 2, height, width): what a view shows of an image whose two channels hold x and y."""
    rows = [
        [naive.source_point(crop, (column + 0.5) / width, (row + 0.5) / height) for column in range(width)]
        for row in range(height)
    ]
    return torch.tensor(rows).permute(2, 0, 1)[None]


def inner(points: Tensor, height: int, width: int) -> Tensor:
    """Which points of a grid lie between pixel centres of the view, where sampling doesn't repeat its border."""
    margin = torch.tensor([0.5 / width, 0.5 / height])
    return ((points >= margin) & (points <= 1 - margin)).all(-1)


# Places.


@given(crops(), crops(), sizes)
@many
def test_both_grids_land_on_the_same_pixels(first: Crop, second: Crop, size: tuple[int, int]) -> None:
    boxes, valid = overlap_boxes(first, second)
    assume(valid)
    left, top = max(first.left, second.left), max(first.top, second.top)
    right = min(first.left + first.width, second.left + second.width)
    bottom = min(first.top + first.height, second.top + second.height)
    grids = box_grid(boxes, size).tolist()
    for row in range(size[0]):
        for column in range(size[1]):
            expected = (
                left + (right - left) * (column + 0.5) / size[1],
                top + (bottom - top) * (row + 0.5) / size[0],
            )
            for crop, grid in zip((first, second), grids, strict=True):
                x, y = grid[row][column]
                assert 0 <= x <= 1
                assert 0 <= y <= 1
                assert naive.source_point(crop, x, y) == pytest.approx(expected, abs=1e-3)


@given(crops(), crops(), sizes, st.tuples(st.integers(4, 20), st.integers(4, 20)))
@many
def test_both_samples_show_the_same_pixels(
    first: Crop, second: Crop, size: tuple[int, int], shape: tuple[int, int]
) -> None:
    """Views and grids need not be square: the views hold the source's coordinates, sampling gives them back."""
    boxes, valid = overlap_boxes(first, second, min_side=0.1)
    assume(valid)
    height, width = shape
    views = torch.cat([coordinates(crop, height, width) for crop in (first, second)])
    found = sample_boxes(views, boxes, size)
    kept = inner(box_grid(boxes, size), height, width).all(0)
    torch.testing.assert_close(found[0][:, kept], found[1][:, kept], atol=2e-3, rtol=0)
    # Elsewhere each view repeats its border, half a pixel of it at most.
    pixels = torch.tensor([[crop.width / width, crop.height / height] for crop in (first, second)])
    assert ((found[0] - found[1]).abs() <= pixels.mean(0)[:, None, None] + 2e-3).all()


@given(crops(), crops(), st.integers(1, 8))
@many
def test_cut_views_show_the_same_pixels(first: Crop, second: Crop, grid: int) -> None:
    """The views that training sees, cut from an image whose red and green are its x and y."""
    boxes, valid = overlap_boxes(first, second, min_side=0.3)
    assume(valid)
    side = 24
    pixels = np.zeros((SOURCE[1], SOURCE[0], 3), dtype=np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(SOURCE[0]), np.arange(SOURCE[1])[:, None]
    image = Image.fromarray(pixels)
    views = torch.stack([view(image, crop, side)[:2] for crop in (first, second)])
    found = sample_boxes(views.float() + 0.5, boxes, (grid, grid))  # the middle of pixel 0 lies at 0.5
    points = box_grid(boxes, (grid, grid))
    for crop, sampled, place in zip((first, second), found, points, strict=True):
        expected = torch.tensor([[naive.source_point(crop, *xy) for xy in row] for row in place.tolist()])
        pixel = torch.tensor([crop.width, crop.height]) / side
        # Two pixels from the view's border neither the resizing nor the sampling is cut off: rounding is all.
        kept = ((place >= 2 / side) & (place <= 1 - 2 / side)).all(-1)
        assert ((sampled.permute(1, 2, 0) - expected).abs()[kept] <= 0.55).all()
        assert ((sampled.permute(1, 2, 0) - expected).abs() <= pixel + 0.5).all()


@given(crops(), crops())
@many
def test_swapping_the_crops_swaps_the_boxes(first: Crop, second: Crop) -> None:
    boxes, valid = overlap_boxes(first, second)
    swapped, still_valid = overlap_boxes(second, first)
    assert torch.equal(boxes.flip(0), swapped)
    assert valid == still_valid


def test_boxes_by_hand() -> None:
    """The right half of the first crop is the left quarter of the second, which is mirrored."""
    boxes, valid = overlap_boxes(Crop(0, 10, 40, 20), Crop(20, 0, 80, 40, flip=True))
    assert valid
    assert boxes.dtype == torch.float32
    assert boxes.tolist() == [[0.5, 0, 1, 1], [1, 0.25, 0.75, 0.75]]


def test_grid_by_hand() -> None:
    grid = box_grid(torch.tensor([[1.0, 0.0, 0.0, 0.5]]), (1, 2))
    assert grid.dtype == torch.float32
    assert grid.tolist() == [[[[0.75, 0.25], [0.25, 0.25]]]]


@pytest.mark.parametrize(
    "second", [Crop(40, 0, 10, 40), Crop(50, 0, 10, 40), Crop(0, 40, 40, 5), Crop(60, 60, 10, 10, flip=True)]
)
def test_without_overlap_the_boxes_are_full(second: Crop) -> None:
    boxes, valid = overlap_boxes(Crop(0, 0, 40, 40), second)
    assert valid is False
    assert boxes.tolist() == [FULL, FULL]
    assert boxes.dtype == torch.float32


@pytest.mark.parametrize(("min_side", "expected"), [(0.0, True), (0.24, True), (0.26, False)])
@pytest.mark.parametrize("second", [Crop(30, 0, 80, 40), Crop(0, 30, 40, 80), Crop(30, 30, 80, 80)])
def test_min_side_is_a_share_of_the_smaller_crop(second: Crop, min_side: float, expected: bool) -> None:
    """10 of 40 and 80 pixels overlap, in the width, the height or both."""
    first = Crop(0, 0, 40, 40)
    for pair in ((first, second), (second, first)):
        boxes, valid = overlap_boxes(*pair, min_side)
        assert valid is expected
        assert (boxes.tolist() == [FULL, FULL]) is not expected


# Sampling.


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 2, 5, 9), (1, 2, 80, 60), (1, 1, 1, 1)])
def test_the_full_box_gives_back_the_features(shape: tuple[int, ...]) -> None:
    features = random_features(*shape)
    boxes = torch.tensor([FULL]).repeat(shape[0], 1)
    torch.testing.assert_close(sample_boxes(features, boxes, shape[2:]), features, atol=1e-5, rtol=0)
    mirrored = sample_boxes(features, torch.tensor([MIRRORED]).repeat(shape[0], 1), shape[2:])
    torch.testing.assert_close(mirrored, features.flip(3), atol=3e-5, rtol=0)


def test_a_box_of_whole_cells_gives_them_back() -> None:
    features = random_features(1, 2, 6, 10)
    found = sample_boxes(features, torch.tensor([[0.3, 0.5, 0.8, 1.0]]), (3, 5))
    torch.testing.assert_close(found, features[:, :, 3:, 3:8], atol=1e-5, rtol=0)


@given(boxes_anywhere, sizes, st.tuples(st.integers(1, 5), st.integers(1, 5)))
@settings(many, max_examples=100)
def test_sampling_equals_the_loop(box: list[float], size: tuple[int, int], shape: tuple[int, int]) -> None:
    features = random_features(1, 2, *shape)
    found = sample_boxes(features, torch.tensor([box]), size)
    expected = torch.tensor(naive.sample_box(features[0].tolist(), box, size))
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=0)


@given(boxes_anywhere)
@few
def test_the_gradient_is_that_of_the_loop(box: list[float]) -> None:
    """Sampling is linear: the gradient at a cell is what a unit in it adds to the outputs."""
    features, upstream = random_features(1, 1, 3, 4), random_features(1, 1, 2, 3, seed=1)
    features.requires_grad_()
    (sample_boxes(features, torch.tensor([box]), (2, 3)) * upstream).sum().backward()
    units = torch.eye(12).reshape(12, 1, 3, 4).tolist()
    expected = [float((torch.tensor(naive.sample_box(one, box, (2, 3))) * upstream[0]).sum()) for one in units]
    torch.testing.assert_close(features.grad.flatten(), torch.tensor(expected), atol=1e-5, rtol=0)


def test_batch_entries_are_independent() -> None:
    features = random_features(3, 2, 5, 7)
    boxes = torch.tensor([[0.1, 0.2, 0.9, 0.7], MIRRORED, [0.6, 0.4, 0.2, 1.0]])
    together = sample_boxes(features, boxes, (4, 3))
    alone = [sample_boxes(features[k : k + 1], boxes[k : k + 1], (4, 3)) for k in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), atol=0, rtol=0)
    assert not torch.equal(sample_boxes(features, boxes.flip(0), (4, 3)), together)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_positions_are_float32_whatever_the_features_are(dtype: torch.dtype, autocast: bool) -> None:
    """A ramp around the right end of 320 cells, where bfloat16 positions are up to 0.6 cells off."""
    ramp = (torch.arange(320.0) - 305).clamp(-128, 128).expand(1, 1, 2, 320)  # exact in half precision
    box = [0.9, 0.0, 0.999, 1.0]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        found = sample_boxes(ramp.to(dtype), torch.tensor([box]), (2, 20))
    assert found.dtype == dtype
    expected = torch.tensor(naive.sample_box(ramp[0].tolist(), box, (2, 20)))
    rounding = torch.finfo(dtype).eps / 2
    torch.testing.assert_close(found[0].float(), expected, atol=1e-3, rtol=rounding)
    coarse = box_grid(torch.tensor([box]), (2, 20)).bfloat16().float()[0]
    off = torch.tensor([[naive.bilinear(ramp[0, 0].tolist(), *xy) for xy in row] for row in coarse.tolist()])
    assert (off - expected[0]).abs().max() > 0.3  # so that the comparison above can fail


def test_float32_stays_float32_under_autocast() -> None:
    features = random_features(1, 1, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = sample_boxes(features, torch.tensor([FULL]), (4, 4))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, features, atol=1e-5, rtol=0)


# The release. Its boxes are whole pixels, (top, left, height, width) = (side x scale, room x place rounded).


def release_crop(side: int, scale: float, place: np.ndarray, flip: bool = False) -> Crop:
    length = int(scale * side)
    top, left = (round(share * (side - length)) for share in place)
    return Crop(left, top, length, length, flip)


@pytest.mark.parametrize("side", [640, 80, 320, 79])
def test_golden_boxes(golden: Golden, side: int) -> None:
    """The release's boxes are what the formula says, so that the crops below are its own."""
    case = golden("eqv_pipeline")
    for scale, place, box in zip(case["box_rscale"], case["box_rcrop"], case[f"box{side}"], strict=True):
        crop = release_crop(side, scale, place)
        assert [crop.top, crop.left, crop.height, crop.width] == box.tolist()


def release_samples(case: dict[str, np.ndarray], name: str, grid: int, flipped: bool) -> tuple[Tensor, Tensor]:
    """Our samples of an array of the release, and where the release's own resizing doesn't repeat its crop's border."""
    values = torch.from_numpy(case[name])
    side = values.shape[-1]
    boxes, kept = [], []
    for image in case["idx"]:
        flip = flipped and bool(case["flip_u"][image] < 0.5)
        crop = release_crop(side, case["rscale"][image], case["rcrop"][image], flip)
        x0, y0, x1, y1 = overlap_boxes(crop, Crop(0, 0, side, side))[0][1].tolist()
        boxes.append([x1, y0, x0, y1] if flip else [x0, y0, x1, y1])
        centre = (torch.arange(grid) + 0.5) * crop.width / grid
        inside = (centre >= 0.5) & (centre <= crop.width - 0.5)
        kept.append(inside[:, None] & inside)
    found = sample_boxes(values, torch.tensor(boxes), (grid, grid))
    return found, torch.stack(kept)[:, None].expand_as(found)


@pytest.mark.parametrize(
    ("source", "result", "grid", "flipped", "share"),
    [
        ("image", "image_crop_only", 32, False, 1.0),
        ("image", "image_out", 32, True, 1.0),
        ("feat", "feat_crop_only", 8, False, 0.5),
        ("feat", "feat_out", 8, True, 0.5),
        ("feat15", "feat15_out", 8, True, 0.8),
    ],
)
def test_golden_crops(golden: Golden, source: str, result: str, grid: int, flipped: bool, share: float) -> None:
    case = golden("eqv_pipeline")
    found, kept = release_samples(case, source, grid, flipped)
    expected = torch.from_numpy(case[result])
    assert kept.float().mean() >= share
    torch.testing.assert_close(found[kept], expected[kept], atol=1e-4, rtol=0)
