"""Intervals over images: per-image matrices, the bootstrap against scipy's, paired differences."""

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from scipy.stats import bootstrap as scipy_bootstrap

from src.intervals import ImageMatrices, PerImage, bootstrap, draws, paired_difference
from src.metrics import Category, ClusterMatchMetric, match, scores
from tests.refusals import refusal

CLASSES = tuple(Category(name, "stuff" if name < "c" else "thing") for name in "abcd")


def batches(images: int, seed: int, right: float = 0.5) -> tuple[torch.Tensor, torch.Tensor]:
    """Predicted clusters and labels (B, 6, 6) of images that are unlike each other, with some pixels ignored."""
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(images, 1, 1, generator=generator)
    label = (4 * share * torch.rand(images, 6, 6, generator=generator)).long()
    chance = torch.randint(0, 4, (images, 6, 6), generator=generator)
    prediction = torch.where(torch.rand(images, 6, 6, generator=generator) < right, (label + 1) % 4, chance)
    label[:, 0, 0] = 255
    return prediction, label


def matrices(images: int = 30, seed: int = 0, right: float = 0.5) -> ImageMatrices:
    metric = PerImage(CLASSES, 4, "hungarian")
    metric.update(*batches(images, seed, right), torch.arange(images))
    return metric.compute()


def naive(prediction: torch.Tensor, label: torch.Tensor) -> np.ndarray:
    """(B, 4, 4) by a loop over pixels."""
    counts = np.zeros((len(label), 4, 4), np.int64)
    for image in range(len(label)):
        for true, cluster in zip(label[image].flatten().tolist(), prediction[image].flatten().tolist(), strict=True):
            if true != 255:
                counts[image, true, cluster] += 1
    return counts


def miou(counts: np.ndarray) -> float:
    matrix = torch.from_numpy(counts.sum(axis=0))
    return scores(matrix, match(matrix, "hungarian"), CLASSES)["mIoU"]


def test_each_image_is_counted_alone_in_order_of_its_index() -> None:
    prediction, label = batches(7, seed=1)
    metric = PerImage(CLASSES, 4, "hungarian")
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    for chosen in (order[:4], order[4:]):
        metric.update(prediction[chosen], label[chosen], chosen)
    found = metric.compute().counts.toarray().reshape(7, 4, 4)
    np.testing.assert_array_equal(found, naive(prediction, label))
    whole = ClusterMatchMetric(CLASSES, 4)
    whole.update(prediction, label)
    np.testing.assert_array_equal(found.sum(axis=0), whole.confusion.numpy())
    metric.reset()
    metric.update(prediction[:2], label[:2], torch.arange(2))
    assert metric.compute().counts.shape == (2, 16)


def test_images_without_a_counted_pixel_are_no_images() -> None:
    prediction, label = batches(3, seed=1)
    label[1] = 255
    metric = PerImage(CLASSES, 4, "hungarian")
    metric.update(prediction, label, torch.arange(3))
    assert metric.compute().counts.shape == (2, 16)


def test_the_bootstrap_is_the_obvious_loop() -> None:
    prediction, label = batches(9, seed=2)
    metric = PerImage(CLASSES, 4, "hungarian")
    metric.update(prediction, label, torch.arange(9))
    counts = naive(prediction, label)
    drawn = [miou(np.repeat(counts, weights, axis=0)) for weights in draws(9, 50, seed=5)]
    value, low, high = bootstrap(metric.compute(), 50, seed=5)["mIoU"]
    assert value == pytest.approx(miou(counts))
    assert (low, high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])))
    assert all(weights.sum() == 9 for weights in draws(9, 20, seed=0))


def test_the_bootstrap_agrees_with_scipys() -> None:
    found = bootstrap(matrices(), 2000)["mIoU"]
    counts = naive(*batches(30, seed=0))
    theirs = scipy_bootstrap(
        (np.arange(30),),
        lambda chosen: miou(counts[chosen]),
        n_resamples=2000,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(1),
    )
    expected = theirs.confidence_interval
    width = expected.high - expected.low
    assert width > 2
    assert abs(found.low - expected.low) < 0.08 * width
    assert abs(found.high - expected.high) < 0.08 * width


def test_a_difference_from_itself_is_nothing() -> None:
    assert set(paired_difference(matrices(), matrices(), 20).values()) == {(0.0, 0.0, 0.0)}


def test_pairing_narrows_the_interval_of_a_difference() -> None:
    """The better one makes the same predictions, and some of the others right as well."""
    prediction, label = batches(30, seed=0)
    better = prediction.clone()
    better[:, ::3] = (label[:, ::3] % 255 + 1) % 4
    results = []
    for clusters in (better, prediction):
        metric = PerImage(CLASSES, 4, "hungarian")
        metric.update(clusters, label, torch.arange(30))
        results.append(metric.compute())
    value, low, high = paired_difference(*results, 500)["mIoU"]
    first, second = (bootstrap(one, 500)["mIoU"] for one in results)
    assert value == pytest.approx(first.value - second.value)
    assert 0 < low < value < high
    unpaired = np.hypot(first.high - first.low, second.high - second.low)
    assert high - low < 0.9 * unpaired


def test_only_the_same_images_are_compared() -> None:
    refusal(lambda: paired_difference(matrices(30), matrices(29), 5), "30 and 29 images", "same images")
    refusal(lambda: paired_difference(matrices(seed=0), matrices(seed=1), 5), "other labels")


def test_without_draws_there_are_no_intervals() -> None:
    assert bootstrap(matrices(), 0) == {}
    assert paired_difference(matrices(), matrices(), 0) == {}


def _count_in_process(rank: int, port: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    prediction, label = batches(3, seed=1)
    metric = PerImage(CLASSES, 4, "hungarian")
    if rank == 0:  # the other process has no image
        metric.update(prediction, label, torch.arange(3))
    counts: Any = metric.compute().counts
    np.save(Path(folder) / f"{rank}.npy", counts.toarray())
    torch.distributed.destroy_process_group()


def test_a_process_may_have_no_image(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_count_in_process, args=(port, str(tmp_path)), nprocs=2)
    for rank in (0, 1):
        np.testing.assert_array_equal(np.load(tmp_path / f"{rank}.npy").reshape(3, 4, 4), naive(*batches(3, seed=1)))
