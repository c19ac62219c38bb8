"""Images as the protocol prepares them: sizes, labels beside them, and what stands for one that can't be read."""

from collections.abc import Collection
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from src.data.datamodule import ImageData
from src.data.eval_datasets import ScoredImages, WholeImages
from src.data.reading import Reader
from src.errors import DenseSiamError
from src.evaluation.protocol import EvaluationProtocol
from src.images.resizing import evaluation_crop, to_tensor
from src.metrics import Category
from tests.data.arrays import Arrays
from tests.factories import VIEWS, paper
from tests.refusals import refusal

THREE = [Category("sky", "stuff"), Category("grass", "stuff"), Category("cat", "thing")]
SIZES = [(40, 64), (53, 37), (48, 48), (32, 90), (35, 33)]  # height, width
OWN = paper(side="own", crop=False)


def images(broken: Collection[int] = (), unlabelled: Collection[int] = ()) -> Arrays:
    """Noise of five sizes; the class of a pixel is its red value modulo 3, 255 in the topmost row."""
    generator = np.random.default_rng(0)
    pixels = [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]
    labels = [image[:, :, 0] % 3 for image in pixels]
    for label in labels:
        label[0] = 255
    return Arrays(pixels, labels, broken, unlabelled)


def scored(arrays: Arrays, protocol: EvaluationProtocol, on_corrupt: str = "raise") -> ScoredImages:
    return ScoredImages(arrays, Reader(arrays, on_corrupt, 0), protocol, [category.name for category in THREE])


def class_of(image: Tensor) -> Tensor:
    return image[0].long() % 3


def test_paper_crops_the_centre_square_of_image_and_labels_alike() -> None:
    arrays = images()
    for index, item in enumerate(map(scored(arrays, paper()).__getitem__, range(5))):
        expected = evaluation_crop(arrays.image(index), 32, Image.Resampling.BILINEAR)
        labels = evaluation_crop(arrays.label(index), 32, Image.Resampling.NEAREST)
        assert torch.equal(item["image"], to_tensor(expected))
        assert torch.equal(item["label"], torch.from_numpy(np.array(labels)).long())
        assert (item["index"], item["unreadable"]) == (index, "")
        assert item["label"].dtype == torch.int64


def test_original_size_leaves_image_and_labels_as_they_are() -> None:
    arrays = images()
    for index, size in enumerate(SIZES):
        item = scored(arrays, OWN)[index]
        assert item["image"].shape == (3, *size)
        assert np.array_equal(item["label"], arrays.labels[index])
        assert torch.equal(item["image"], to_tensor(arrays.image(index)))
        assert torch.equal(class_of(item["image"])[1:], item["label"][1:])  # pixel by pixel in its place


def test_a_side_without_a_crop_resizes_the_image_only() -> None:
    arrays = images()
    found = [scored(arrays, paper(side=16, crop=False))[index] for index in range(5)]
    assert [tuple(item["image"].shape[1:]) for item in found] == [(16, 25), (22, 16), (16, 16), (16, 45), (16, 16)]
    assert all(np.array_equal(item["label"], label) for item, label in zip(found, arrays.labels, strict=True))


def test_a_crop_at_the_own_size_cuts_both_at_the_same_place() -> None:
    for index, size in enumerate(SIZES):
        item = scored(images(), paper(side="own"))[index]
        assert item["label"].shape == item["image"].shape[1:] == (min(size), min(size))
        counted = item["label"] != 255
        assert torch.equal(class_of(item["image"])[counted], item["label"][counted])
        assert counted.float().mean() > 0.95


@pytest.mark.parametrize("protocol", [OWN, paper(side="own"), paper(side=16, crop=False)])
@pytest.mark.parametrize("processes", [1, 2])
def test_images_of_different_sizes_come_one_by_one(protocol: EvaluationProtocol, processes: int) -> None:
    shapes, indices = [], []
    for rank in range(processes):
        arrays = images()
        data = ImageData(lambda a=arrays: a, arrays, THREE, VIEWS, protocol, 4, 0, 0, "raise")
        data.trainer = SimpleNamespace(global_rank=rank, world_size=processes, training=False)
        for batch in data.val_dataloader():
            assert len(batch["image"]) == len(batch["label"]) == len(batch["index"]) == 1
            indices += batch["index"].tolist()
            shapes.append(tuple(batch["image"].shape[2:]))
        assert {len(batch["index"]) for batch in data.train_dataloader()} == {4 // processes}  # training as ever
        assert all(len(whole) == 1 for whole in data.whole_train_dataloader(3, torch.Generator()))
    assert sorted(indices) == list(range(5))
    expected = [tuple(scored(images(), protocol)[index]["image"].shape[1:]) for index in indices]
    assert shapes == expected


@pytest.mark.parametrize(("broken", "unlabelled", "said"), [({1}, (), "image 1"), ((), {1}, "labels 1")])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_skip_leaves_an_image_out_of_the_scores(
    broken: Collection[int], unlabelled: Collection[int], said: str, num_workers: int
) -> None:
    arrays = images(broken, unlabelled)
    data = ImageData(lambda: arrays, arrays, THREE, VIEWS, paper(), 5, num_workers, 0, "skip")
    (batch,) = data.val_dataloader()
    assert batch["unreadable"] == ["", f"can't read {said}", "", "", ""]
    assert batch["index"].tolist() == [0, 1, 2, 3, 4]
    assert batch["image"].shape == (5, 3, 32, 32)
    assert (batch["label"][1] == 255).all()
    for index in (0, 2, 3, 4):
        assert torch.equal(batch["label"][index], scored(images(), paper())[index]["label"])


@pytest.mark.parametrize("protocol", [OWN, paper(side="own"), paper(side=16, crop=False)])
def test_what_stands_for_an_unreadable_image_has_no_counted_pixel(protocol: EvaluationProtocol) -> None:
    item = scored(images(broken={3}), protocol, "skip")[3]
    assert item["unreadable"] == "can't read image 3"
    assert item["image"].dtype == torch.uint8
    assert min(item["image"].shape[1:]) >= 16
    assert (item["label"] == 255).all()


@pytest.mark.parametrize(("broken", "unlabelled", "said"), [({1}, (), "image 1"), ((), {1}, "labels 1")])
def test_raise_stops_at_either(broken: Collection[int], unlabelled: Collection[int], said: str) -> None:
    assert refusal(lambda: scored(images(broken, unlabelled), paper())[1]) == f"can't read {said}"


@pytest.mark.parametrize("on_corrupt", ["raise", "skip"])
def test_labels_that_do_not_fit_are_never_skipped(on_corrupt: str) -> None:
    """They are read well enough: what is wrong is the data set."""
    arrays = images()
    arrays.labels[2] = np.zeros((48, 47), np.uint8)
    arrays.labels[4] = np.full(SIZES[4], 9, np.uint8)
    refusal(lambda: scored(arrays, OWN, on_corrupt)[2], "labels 2 are 47 x 48", "48 x 48", "expected the same size")
    refusal(lambda: scored(arrays, OWN, on_corrupt)[4], "labels 4 hold [9]", "expected 0 to 2")


@pytest.mark.parametrize("protocol", [paper(), OWN, paper(side="own"), paper(side=16, crop=False)])
def test_kmeans_sees_what_is_scored(protocol: EvaluationProtocol) -> None:
    arrays = images()
    whole = WholeImages(Reader(arrays, "raise", 0), protocol)
    assert len(whole) == 5
    assert all(torch.equal(whole[index], scored(arrays, protocol)[index]["image"]) for index in range(5))


def test_kmeans_gets_another_image_for_one_that_is_skipped() -> None:
    arrays = images(broken={1})
    whole = WholeImages(Reader(arrays, "skip", 0), paper())
    others = [whole[index] for index in (0, 2, 3, 4)]
    assert sum(torch.equal(whole[1], other) for other in others) == 1
    assert torch.equal(whole[1], whole[1])
    with pytest.raises(DenseSiamError, match="can't read image 1"):
        WholeImages(Reader(arrays, "raise", 0), paper())[1]


def test_images_too_long_to_be_resized_whole_are_named() -> None:
    arrays = Arrays([np.zeros((2, 200, 3), np.uint8)], [np.zeros((2, 200), np.uint8)])
    assert scored(arrays, OWN)[0]["image"].shape == (3, 2, 200)
    assert scored(arrays, paper())[0]["image"].shape == (3, 32, 32)
    whole = paper(side=16, crop=False)
    refusal(lambda: scored(arrays, whole)[0], "image 0 is 200 x 2", "64 times", "protocol.crop=true")
    unlabelled = WholeImages(Reader(arrays, "raise", 0), whole)
    refusal(lambda: unlabelled[0], "image 0 is 200 x 2", "64 times", "protocol.crop=true")
