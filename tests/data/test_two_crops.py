"""The two random crops of pre-training: where they lie, what their boxes say, and when they are drawn again."""

from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import default_collate
from torchvision.transforms import v2

from src.data import views as module
from src.data.reading import Reader
from src.data.sampling import SampleKey
from src.data.views import CropAndWhole, TwoCrops, ViewPairs
from src.geometry import Crop, box_grid, overlap_boxes, sample_boxes
from tests.factories import COLOURS, noise_image
from tests.refusals import refusal

SIZE = 24
CONFIG = Path(__file__).parents[2] / "conf" / "data" / "views" / "two_crops.yaml"
FULL = [[0.0, 0.0, 1.0, 1.0]] * 2
OPTIONS: dict[str, Any] = {"size": SIZE, "scale": (0.2, 1.0), "ratio": (3 / 4, 4 / 3), "flip_probability": 0.5}
OPTIONS |= {"min_overlap": 0.15, "max_redraws": 10, "colour": nn.Identity()}


def two_crops(**changes: Any) -> TwoCrops:
    return TwoCrops(**(OPTIONS | changes))


def drawn(views: TwoCrops, image: Image.Image, count: int) -> list[dict[str, Any]]:
    """Samples of the seeds 0, 1, ..."""
    samples = []
    for seed in range(count):
        torch.manual_seed(seed)
        samples.append(views(image))
    return samples


@pytest.fixture
def crops(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Crop, Crop]]:
    """The pairs of crops that the test draws; samples hold them in place of their views."""
    pairs: list[tuple[Crop, Crop]] = []

    def remembered(first: Crop, second: Crop, min_side: float) -> tuple[Tensor, bool]:
        pairs.append((first, second))
        return overlap_boxes(first, second, min_side)

    monkeypatch.setattr(module, "overlap_boxes", remembered)
    monkeypatch.setattr(module, "view", lambda image, crop, size: crop)
    return pairs


# Geometry.


def ramp(width: int, height: int) -> Image.Image:
    """Red tells a pixel's column and green its row, both in quarters of a pixel."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = 4 * np.arange(width), 4 * np.arange(height)[:, None]
    return Image.fromarray(pixels)


def span(line: Tensor) -> tuple[float, float]:
    """From which place to which a view goes, from the places that its pixels show, leaving out its border."""
    low, high = 3, SIZE - 4
    step = float(line[high] - line[low]) / (high - low)
    start = float(line[low]) - (low + 0.5) * step
    return start, start + SIZE * step


@pytest.mark.parametrize(("width", "height"), [(60, 60), (63, 40), (36, 61)])
@pytest.mark.parametrize("min_overlap", [0.15, 0.6])
def test_the_boxes_say_where_both_views_show_the_same(width: int, height: int, min_overlap: float) -> None:
    flips, redrawn = set(), 0
    for sample in drawn(two_crops(min_overlap=min_overlap), ramp(width, height), 40):
        assert sample["valid"] is True
        places = torch.stack(sample["views"])[:, :2].float() / 4 + 0.5  # in pixels of the source
        first, second = sample_boxes(places, sample["boxes"], (8, 8))
        points = box_grid(sample["boxes"], (8, 8))
        inside = ((points > 2 / SIZE) & (points < 1 - 2 / SIZE)).all(0).all(-1)
        assert ((first - second).abs()[:, inside] < 0.3).all()

        spans = [(span(place[0].mean(0)), span(place[1].mean(1))) for place in places]
        for axis in (0, 1):
            (a0, a1), (b0, b1) = spans[0][axis], spans[1][axis]
            low, high = max(min(a0, a1), min(b0, b1)), min(max(a0, a1), max(b0, b1))
            for box, (start, end) in zip(sample["boxes"], ((a0, a1), (b0, b1)), strict=True):
                expected = sorted(((low - start) / (end - start), (high - start) / (end - start)), reverse=start > end)
                assert box[[axis, axis + 2]].tolist() == pytest.approx(expected, abs=0.02)
        flips.add(tuple(bool(box[0] > box[2]) for box in sample["boxes"]))
        redrawn += sample["redrawn"]
    assert flips == {(False, False), (False, True), (True, False), (True, True)}
    assert redrawn > 0 or min_overlap == 0.15


def test_a_whole_pixel_crop_is_what_torchvision_would_cut() -> None:
    image = noise_image(50, 40)
    views = two_crops(flip_probability=0.0, scale=(1.0, 1.0), ratio=(1.25, 1.25))
    (sample,) = drawn(views, image, 1)
    expected = v2.functional.resize(v2.functional.pil_to_tensor(image), [SIZE, SIZE])
    assert all(torch.equal(view, expected) for view in sample["views"])
    assert sample["boxes"].tolist() == FULL


# Drawing.


@pytest.mark.parametrize(("scale", "ratio"), [((0.2, 1.0), (3 / 4, 4 / 3)), ((0.1, 0.3), (0.5, 0.7))])
def test_crops_are_drawn_from_their_ranges_and_apart(
    crops: list[tuple[Crop, Crop]], scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    width, height, count = 400, 300, 1000
    views = two_crops(scale=scale, ratio=ratio, min_overlap=0.0, max_redraws=0)
    drawn(views, Image.new("RGB", (width, height)), count)
    assert len(crops) == count
    left, top, across, down, flip = torch.tensor(crops, dtype=torch.float64).unbind(2)  # (count, 2) each
    assert left.min() == top.min() == 0
    assert (left + across).max() == width
    assert (top + down).max() == height
    rng = np.random.default_rng(0)
    areas, ratios = rng.uniform(*scale, 50_000), np.exp(rng.uniform(*np.log(ratio), 50_000))
    fits = (areas * ratios <= width / height) & (areas / ratios <= height / width)
    shares = across * down / (width * height), across / down
    for found, expected in zip(shares, (areas[fits], ratios[fits]), strict=True):
        parts = (0.0, 0.25, 0.5, 0.75, 1.0)
        assert np.quantile(found, parts) == pytest.approx(np.quantile(expected, parts), rel=0.06)
    for value in (*shares, left / (width - across + 1), top / (height - down + 1), flip):
        assert abs(torch.corrcoef(value.T)[0, 1]) < 4 / count**0.5


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_each_crop_is_flipped_as_often_as_it_should(crops: list[tuple[Crop, Crop]], probability: float) -> None:
    drawn(two_crops(flip_probability=probability, max_redraws=0), Image.new("RGB", (40, 30)), 600)
    share = torch.tensor([[crop.flip for crop in pair] for pair in crops]).double().mean(0)
    assert ((share - probability).abs() <= 4 * (probability * (1 - probability) / 600) ** 0.5).all()


def test_the_same_seed_draws_the_same_views() -> None:
    class Noise:
        def __len__(self) -> int:
            return 3

        def image(self, index: int) -> Image.Image:
            return noise_image(40, 30)

        def image_name(self, index: int) -> str:
            return "noise"

    pairs = ViewPairs(Reader(Noise(), "raise", 0), two_crops(colour=COLOURS), seed=0)
    first, again, other = (pairs[key] for key in (SampleKey(1, 2), SampleKey(1, 2), SampleKey(2, 2)))
    assert all(map(torch.equal, first["views"], again["views"]))
    assert torch.equal(first["boxes"], again["boxes"])
    assert not torch.equal(first["boxes"], other["boxes"])
    assert not any(map(torch.equal, first["views"], other["views"]))


def test_each_view_draws_its_own_colours() -> None:
    jitter = v2.ColorJitter(brightness=0.4)
    samples = drawn(two_crops(colour=jitter), Image.new("RGB", (20, 20), (90, 120, 150)), 20)
    differences = [(first.float() - second.float()).abs().mean() for first, second in (s["views"] for s in samples)]
    assert sum(float(difference) > 2 for difference in differences) >= 15


# Redrawing.


@pytest.mark.parametrize("min_overlap", [0.0, 0.15, 0.5])
def test_valid_pairs_overlap_enough(crops: list[tuple[Crop, Crop]], min_overlap: float) -> None:
    samples = drawn(two_crops(min_overlap=min_overlap, max_redraws=1), Image.new("RGB", (400, 300)), 400)
    enough = []
    for a, b in (sample["views"] for sample in samples):  # the crops, see the fixture
        wide = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
        high = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
        shares = wide / min(a.width, b.width), high / min(a.height, b.height)
        enough.append(min(shares) > min_overlap)
    assert [sample["valid"] for sample in samples] == enough
    assert set(enough) == ({True, False} if min_overlap == 0.5 else {True})


def test_pairs_are_redrawn_as_often_as_too_little_overlaps() -> None:
    image, count = Image.new("RGB", (40, 30)), 1000
    once, often = (drawn(two_crops(size=1, max_redraws=bound), image, count) for bound in (0, 10))
    invalid = sum(not sample["valid"] for sample in once) / count
    assert 0.01 < invalid < 0.05
    assert not any(sample["redrawn"] for sample in once)
    assert all(sample["valid"] for sample in often)
    # a seed's first draw is the same in both
    assert sum(sample["redrawn"] > 0 for sample in often) == round(invalid * count)
    assert sum(sample["redrawn"] for sample in often) / count == pytest.approx(invalid / (1 - invalid), abs=0.01)


@pytest.mark.parametrize("bound", [0, 3])
def test_redraws_end_and_draw_both_crops(crops: list[tuple[Crop, Crop]], bound: int) -> None:
    views = two_crops(scale=(0.01, 0.01), min_overlap=0.99, max_redraws=bound)
    (sample,) = drawn(views, Image.new("RGB", (300, 200)), 1)
    assert (sample["valid"], sample["redrawn"], sample["boxes"].tolist()) == (False, bound, FULL)
    assert len(set(crops)) == len({first for first, _ in crops}) == len({second for _, second in crops}) == bound + 1
    assert sample["views"] == crops[-1]


def test_the_first_pair_that_overlaps_enough_is_taken(crops: list[tuple[Crop, Crop]]) -> None:
    samples = drawn(two_crops(min_overlap=0.6, max_redraws=50), Image.new("RGB", (300, 200)), 50)
    ends = np.cumsum([sample["redrawn"] + 1 for sample in samples])
    assert ends[-1] == len(crops) > 60
    assert [sample["views"] for sample in samples] == [crops[end - 1] for end in ends]


def test_batches_say_how_often_they_were_redrawn() -> None:
    whole = CropAndWhole(SIZE, (0.5, 1.0), 0.5, nn.Identity())(noise_image(30, 30))
    assert whole["redrawn"] == 0
    never = two_crops(scale=(0.01, 0.01), min_overlap=0.99, max_redraws=2)
    batch = default_collate([whole, *drawn(never, noise_image(30, 30), 1)])
    assert batch["redrawn"].tolist() == [0, 2]
    assert batch["valid"].tolist() == [True, False]
    assert batch["boxes"].shape == (2, 2, 4)


# Odd images and values.


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2), (7, 5), (3, 200)])
def test_small_and_thin_images_are_enlarged(shape: tuple[int, int]) -> None:
    colour = (200, 100, 50)
    for sample in drawn(two_crops(), Image.new("RGB", shape, colour), 30):
        for view in sample["views"]:
            assert view.shape == (3, SIZE, SIZE)
            assert (view == torch.tensor(colour).view(3, 1, 1)).all()
        assert sample["boxes"].min() >= 0
        assert sample["boxes"].max() <= 1
        if shape == (1, 1):
            assert sample["valid"] is True
            assert sample["boxes"].sort(dim=1).values.tolist() == [[0, 0, 1, 1]] * 2


def test_the_smallest_crops_can_be_cut() -> None:
    views = two_crops(scale=(1e-4, 1.0), ratio=(0.01, 100.0))
    assert views.least == 1000 * SIZE
    assert views(noise_image(64, 48))["views"][0].shape == (3, SIZE, SIZE)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("size", 0, "a whole number from 1"),
        ("scale", (0.0, 1.0), "two finite numbers from 0.0001 to 1, the smallest first"),
        ("scale", (1e-323, 1.0), "two finite numbers from 0.0001 to 1, the smallest first"),
        ("scale", (0.5, 0.2), "two finite numbers from 0.0001 to 1, the smallest first"),
        ("scale", (0.5, 1.1), "two finite numbers from 0.0001 to 1, the smallest first"),
        ("scale", (0.5,), "two finite numbers from 0.0001 to 1, the smallest first"),
        ("scale", (float("nan"), 1.0), "two finite numbers from 0.0001 to 1, the smallest first"),
        ("ratio", (0.0, 1.0), "two finite numbers from 0.01 to 100, the smallest first"),
        ("ratio", (2.0, 0.5), "two finite numbers from 0.01 to 100, the smallest first"),
        ("ratio", (1.0, float("inf")), "two finite numbers from 0.01 to 100, the smallest first"),
        ("min_overlap", -0.1, "from 0 below 1"),
        ("min_overlap", 1.0, "from 0 below 1"),
        ("max_redraws", -1, "a whole number from 0"),
        ("flip_probability", 1.5, "0 to 1"),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: Any, expected: str) -> None:
    shown = list(value) if isinstance(value, tuple) else value
    refusal(lambda: two_crops(**{name: value}), f"{name} is {shown}: expected", expected)


def test_the_configured_views_are_simsiams() -> None:
    config = OmegaConf.load(CONFIG)
    colour = {key: value for key, value in config.colour.items() if key != "_target_"}
    assert colour == {
        **dict.fromkeys(("brightness", "contrast", "saturation"), 0.4),
        "hue": 0.1,
        "jitter_probability": 0.8,
        "grey_probability": 0.2,
        "blur_probability": 0.5,
        "blur_sigma": [0.1, 2.0],
    }
    assert (config.size, config.scale, config.flip_probability) == (224, [0.2, 1.0], 0.5)
    assert config.ratio == [3 / 4, 4 / 3]
    views = hydra.utils.instantiate(config)
    torch.manual_seed(0)
    assert [view.shape for view in views(noise_image(100, 80))["views"]] == [(3, 224, 224)] * 2
