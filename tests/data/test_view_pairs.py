"""Two views of every image: drawn from (seed, epoch, index) alone, whatever the workers."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from src.data.datamodule import ImageData
from src.data.reading import Reader
from src.data.sampling import SampleKey
from src.data.views import ViewPairs
from src.metrics import Category
from tests.factories import VIEWS, noise_image, paper


class NoiseImages:
    """Labelled images of three sizes, without files; the labels can't be read."""

    def __init__(self, count: int) -> None:
        self.images = [noise_image(*((24, 20), (20, 25), (22, 22))[index % 3], seed=index) for index in range(count)]

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> Image.Image:
        return self.images[index]

    def image_name(self, index: int) -> str:
        return f"noise {index}"

    def label(self, index: int) -> Image.Image:
        raise AssertionError("labels are for scoring only")

    def label_name(self, index: int) -> str:
        raise AssertionError("labels are for scoring only")

    def split_of(self, index: int) -> str:
        raise AssertionError("labels are for scoring only")


def pairs(seed: int = 0) -> ViewPairs:
    return ViewPairs(Reader(NoiseImages(6), "raise", 0), VIEWS, seed)


def equal(first: dict[str, Any], second: dict[str, Any]) -> bool:
    same_views = all(map(torch.equal, first["views"], second["views"]))
    return same_views and torch.equal(first["boxes"], second["boxes"]) and first["index"] == second["index"]


def test_a_sample_depends_on_seed_epoch_and_index() -> None:
    item = pairs()[SampleKey(2, 3)]
    assert item["index"] == 3
    assert equal(item, pairs()[SampleKey(2, 3)])
    assert not torch.equal(item["boxes"], pairs()[SampleKey(3, 3)]["boxes"])
    assert not torch.equal(item["boxes"], pairs()[SampleKey(2, 4)]["boxes"])
    assert not torch.equal(item["boxes"], pairs(seed=1)[SampleKey(2, 3)]["boxes"])
    assert not torch.equal(item["boxes"], pairs()[SampleKey(3, 2)]["boxes"])


def test_the_global_generators_are_neither_read_nor_moved() -> None:
    samples, after = [], []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002  the global generator is what is tested
        random.seed(seed)
        expected = (torch.rand(1).item(), np.random.random(), random.random())  # noqa: NPY002
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        samples.append(pairs()[SampleKey(0, 1)])
        after.append((torch.rand(1).item(), np.random.random(), random.random()) == expected)  # noqa: NPY002
    assert equal(*samples)
    assert after == [True, True]


def epoch_of_batches(num_workers: int, epoch: int = 0, seed: int = 0) -> list[dict[str, Any]]:
    images = NoiseImages(14)
    classes = [Category("all", "stuff")]
    data = ImageData(lambda: images, images, classes, VIEWS, paper(), 4, num_workers, seed, "raise")
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def equal_batches(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> list[bool]:
    return [
        all(map(torch.equal, (*a["views"], a["boxes"], a["index"]), (*b["views"], b["boxes"], b["index"])))
        for a, b in zip(first, second, strict=True)
    ]


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # three workers on two cores are meant
@pytest.mark.parametrize("num_workers", [1, 3])
def test_an_epoch_does_not_depend_on_the_number_of_workers(num_workers: int) -> None:
    expected = epoch_of_batches(0)
    assert len(expected) == 3
    assert expected[0]["views"][0].shape == (4, 3, 16, 16)
    assert expected[0]["boxes"].shape == (4, 2, 4)
    torch.manual_seed(1234)  # nor on the global generator, from which workers take their seeds
    assert all(equal_batches(expected, epoch_of_batches(num_workers)))


def test_epochs_and_seeds_differ() -> None:
    first = epoch_of_batches(0)
    assert not any(equal_batches(first, epoch_of_batches(0, epoch=1)))
    assert not any(equal_batches(first, epoch_of_batches(0, seed=1)))


def test_clustering_sees_the_pairs_that_the_epoch_trains_on() -> None:
    data = ImageData(
        lambda: NoiseImages(6), None, (), VIEWS, paper(), batch_size=2, num_workers=0, seed=3, on_corrupt="raise"
    )
    trained, seen = data.train_dataloader(), data.pairs_dataloader(4)
    trained.sampler.set_epoch(4)
    batches = list(zip(trained, seen, strict=True))
    assert len(batches) == 3
    for one, other in batches:
        assert one["index"].tolist() == other["index"].tolist()
        assert torch.equal(one["boxes"], other["boxes"])
        assert all(map(torch.equal, one["views"], other["views"]))
