"""Labelled crops: pixels and labels stay together, padding has no class, and one class does not fill a crop."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from src.data.sampling import SampleKey
from src.data.scaled_crop import ScaledCrop, photometric_distortion
from src.data.training_views import seeded
from tests.factories import labelled_data, noise_image, unlabelled_data
from tests.refusals import refusal

PLAIN = {"probability": 0.0, "brightness": 0.125, "contrast": 0.5, "saturation": 0.5, "hue": 0.1}


def crops(probability: float = 0.0, **changes: Any) -> ScaledCrop:
    colour = photometric_distortion(**(PLAIN | {"probability": probability}))
    values = {"size": 24, "side": "own", "scale": [0.5, 2.0], "most_of_one_class": 0.75, "flip_probability": 0.5}
    return ScaledCrop(**({"colour": colour} | values | changes))


def pair(height: int = 40, width: int = 50) -> tuple[Tensor, Tensor]:
    """An image whose red shows the class of each pixel."""
    label = torch.arange(height * width).reshape(height, width) // 97 % 20
    image = torch.stack([label * 10, label, label]).to(torch.uint8)
    return image, label.to(torch.uint8)


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("size", [24, 64])
def test_labels_are_those_of_the_pixels(size: int, flip: float) -> None:
    with seeded(3):
        image, label = crops(size=size, scale=[1.0, 1.0], flip_probability=flip)(*pair())
    assert (image.shape, label.shape) == ((3, size, size), (size, size))
    assert image.dtype == torch.uint8
    inside = label != 255
    assert torch.equal(image[0][inside].long(), 10 * label[inside].long())
    assert inside.sum() == min(size, 40) * min(size, 50)
    assert torch.equal(
        image[:, ~inside], torch.tensor([[124], [116], [104]], dtype=torch.uint8).expand(3, (~inside).sum())
    )
    assert inside[: min(size, 40), : min(size, 50)].all()  # what is padded is on the right and below


def test_a_mirrored_crop_is_the_crop_mirrored() -> None:
    found = []
    for flip in (0.0, 1.0):
        with seeded(5):
            found.append(crops(scale=[1.0, 1.0], flip_probability=flip)(*pair()))
    assert torch.equal(found[1][0], found[0][0].flip(-1))
    assert torch.equal(found[1][1], found[0][1].flip(-1))


@pytest.mark.parametrize(("side", "expected"), [("own", [20, 80]), (80, [40, 160])])
def test_scales_are_between_their_ends(side: int | str, expected: list[int]) -> None:
    view, heights = crops(size=200, side=side, most_of_one_class=1), []
    for seed in range(60):
        with seeded(seed):
            heights.append(int((view(*pair())[1][:, 0] != 255).sum()))
    assert expected[0] <= min(heights) <= 1.2 * expected[0]
    assert 0.9 * expected[1] <= max(heights) <= expected[1]


def test_a_single_pixel_is_cropped_too() -> None:
    image, label = crops(size=8)(torch.full((3, 1, 1), 7, dtype=torch.uint8), torch.ones(1, 1, dtype=torch.uint8))
    assert image[:, 0, 0].tolist() == [7, 7, 7]
    assert sorted(label.unique().tolist()) == [1, 255]


def one_class(share: float) -> tuple[Tensor, Tensor]:
    """An image in which the left part has class 0, the right part class 1."""
    label = torch.zeros(60, 60, dtype=torch.uint8)
    label[:, int(60 * share) :] = 1
    return torch.zeros(3, 60, 60, dtype=torch.uint8), label


def test_a_crop_of_mostly_one_class_is_drawn_again() -> None:
    shares: dict[float, list[float]] = {0.75: [], 1.0: []}
    for most, found in shares.items():
        view = crops(scale=[1.0, 1.0], most_of_one_class=most)
        for seed in range(60):
            with seeded(seed):
                counts = view(*one_class(0.5))[1].flatten().bincount(minlength=2)
            found.append(float(counts.max() / counts.sum()))
    assert sum(share >= 0.75 for share in shares[1.0]) > 20
    assert sum(share >= 0.75 for share in shares[0.75]) <= 3  # all ten draws were so
    with seeded(0):  # an image of one class has no other crop
        assert crops()(*one_class(1.0))[1].unique().tolist()[0] == 0


def test_colours_change_but_labels_do_not() -> None:
    found = []
    for probability in (0.0, 1.0):
        with seeded(9):
            found.append(crops(probability, flip_probability=0.0)(*pair()))
    assert torch.equal(found[0][1], found[1][1])
    assert not torch.equal(found[0][0], found[1][0])


def test_items_depend_on_seed_epoch_and_index_alone(labelled_root: Path) -> None:
    data = labelled_data(labelled_root, views=crops(probability=0.5))
    samples = [data.views.samples(data._reader(data.train), 3, seed) for seed in (0, 0, 1)]
    first, again, other = (each[SampleKey(2, 4)] for each in samples)
    assert {key: first[key] for key in ("index", "unreadable")} == {"index": 4, "unreadable": ""}
    assert first["label"].dtype == torch.int64
    assert first["label"].max() <= 255
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["label"], again["label"])
    assert not torch.equal(first["image"], other["image"])
    assert not torch.equal(first["image"], samples[0][SampleKey(3, 4)]["image"])


@pytest.mark.parametrize("folder", ["images", "labels"])
def test_another_image_is_shown_with_its_own_labels(folder: str, labelled_root: Path) -> None:
    """Red and class agree also where an image, or its label map, can't be read."""
    for index, path in enumerate(sorted((labelled_root / "images" / "train").iterdir())):
        label = np.full((40, 48), index % 3, np.uint8)
        pixels = np.full((40, 48, 3), 50 * (index % 3), np.uint8)
        path.unlink()
        Image.fromarray(pixels).save(path.with_suffix(".png"))
        Image.fromarray(label).save(labelled_root / "labels" / "train" / f"{path.stem}.png")
    (labelled_root / folder / "train" / "scene2.png").write_bytes(b"no image")
    data = labelled_data(labelled_root, views=crops(), on_corrupt="skip")
    samples = data.views.samples(data._reader(data.train), 3, 0)
    replaced = samples[SampleKey(0, 2)]
    assert "scene2.png" in replaced["unreadable"]
    for sample in (replaced, samples[SampleKey(0, 1)]):
        inside = sample["label"] != 255
        assert inside.any()
        assert torch.equal(sample["image"][0][inside].long(), 50 * sample["label"][inside])
    strict = labelled_data(labelled_root, views=crops())
    refusal(lambda: strict.views.samples(strict._reader(strict.train), 3, 0)[SampleKey(0, 2)], "scene2.png")


def test_labels_are_checked_as_those_that_are_scored(labelled_root: Path) -> None:
    labels = labelled_root / "labels" / "train" / "scene0.png"
    data = labelled_data(labelled_root, views=crops())
    samples = data.views.samples(data._reader(data.train), 3, 0)
    Image.fromarray(np.full((40, 48), 7, np.uint8)).save(labels)
    refusal(lambda: samples[SampleKey(0, 0)], "scene0.png hold [7]: expected 0 to 2, or 255")
    Image.fromarray(np.zeros((40, 47), np.uint8)).save(labels)
    refusal(lambda: samples[SampleKey(0, 0)], "are 47 x 40, their image is 48 x 40")


def test_an_image_too_long_to_be_resized_is_named(labelled_root: Path) -> None:
    """An image of 4 x 200,000 would be resized to 1,024 x 51,200,000, before a part of it is cut out."""
    image = next((labelled_root / "images" / "train").glob("scene0.*"))
    Image.fromarray(np.zeros((2, 200, 3), np.uint8)).save(image)
    Image.fromarray(np.zeros((2, 200), np.uint8)).save(labelled_root / "labels" / "train" / "scene0.png")
    for side, refused in ((32, True), ("own", False)):
        data = labelled_data(labelled_root, views=crops(side=side))
        samples = data.views.samples(data._reader(data.train), 3, 0)
        if refused:
            refusal(partial(samples.__getitem__, SampleKey(0, 0)), "scene0", "is 200 x 2", "at most 64 times")
        else:
            assert samples[SampleKey(0, 0)]["image"].shape == (3, 24, 24)


def test_missing_labels_are_found_before_training(labelled_root: Path, tmp_path: Path) -> None:
    (labelled_root / "labels" / "train" / "scene3.png").unlink()
    refusal(lambda: labelled_data(labelled_root, views=crops()).setup("fit"), "1 of 6 training images have no labels")
    shutil.rmtree(labelled_root / "labels" / "train")
    refusal(lambda: labelled_data(labelled_root, views=crops()).setup("fit"), "6 of 6 training images have no labels")
    noise_image(30, 30).save(tmp_path / "a.png")
    noise_image(30, 30).save(tmp_path / "b.png")
    refusal(lambda: unlabelled_data(tmp_path, views=crops()).setup("fit"), "the training images have no labels")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 0}, "data.views.size is 0"),
        ({"side": "whole"}, "data.views.side is 'whole'"),
        ({"scale": [2.0, 0.5]}, "data.views.scale is [2.0, 0.5]"),
        ({"most_of_one_class": 0}, "data.views.most_of_one_class is 0"),
        ({"flip_probability": 2}, "data.views.flip_probability is 2"),
        ({"colour": None}, "data.views.colour is None"),
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    refusal(lambda: crops(**changes), message)


@pytest.mark.parametrize("name", PLAIN)
def test_strengths_out_of_range_are_refused(name: str) -> None:
    refusal(lambda: photometric_distortion(**(PLAIN | {name: -0.1})), f"data.views.colour.{name} is -0.1")
