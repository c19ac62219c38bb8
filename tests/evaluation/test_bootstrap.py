"""Intervals over images, against loops, hand-computed values and scipy's bootstrap."""

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from src.evaluation.bootstrap import ImageMatrices, Interval, PerImage, bootstrap, draws, paired_difference
from src.metrics import Category, confusion_matrix, match, scores
from tests import naive
from tests.processes import in_two_processes
from tests.refusals import refusal

THREE = (Category("sky", "stuff"), Category("grass", "stuff"), Category("cat", "thing"))


def seeded(count: int, seed: int = 0, right: float = 0.6) -> tuple[Tensor, Tensor]:
    """(prediction, label), each (count, 6, 8), 4 clusters and 3 classes; some images are easy, others hard."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, 3, (count, 6, 8), generator=generator)
    label = torch.where(torch.rand((count, 1, 1), generator=generator) < 0.3, label.clamp(max=1), label)
    ease = right * torch.rand((count, 1, 1), generator=torch.Generator().manual_seed(99)) * 1.5
    noise = torch.randint(0, 4, label.shape, generator=generator)
    prediction = torch.where(torch.rand(label.shape, generator=generator) < ease, 2 - label, noise)
    label[:, 0] = 255
    return prediction, label


def measured(prediction: Tensor, label: Tensor, matching: str = "hungarian", batch: int = 3) -> ImageMatrices:
    metric = PerImage(THREE, 4, matching)
    parts = zip(prediction.split(batch), label.split(batch), torch.arange(len(label)).split(batch), strict=True)
    for part in parts:
        metric.update(*part)
    return metric.compute()


def test_each_image_has_the_matrix_of_the_loop() -> None:
    prediction, label = seeded(7)
    found = measured(prediction, label)
    assert found.counts.shape == (7, 12)
    for row, clusters, classes in zip(found.counts.toarray().reshape(7, 3, 4), prediction, label, strict=True):
        assert row.tolist() == naive.confusion(classes.flatten().tolist(), clusters.flatten().tolist(), 3, 4)


def test_classes_without_a_counted_pixel_are_named() -> None:
    prediction, label = seeded(7)
    assert measured(prediction, label).counted() == {"images": 7}
    assert measured(prediction, label.where(label == 1, 255)).counted() == {"images": 7, "absent classes": "sky, cat"}


def test_their_sum_is_the_confusion_of_the_whole() -> None:
    prediction, label = seeded(7)
    whole = confusion_matrix(label, prediction, 3, 4)
    found = measured(prediction, label)
    assert torch.equal(found.total, whole)
    assert found.scores(np.ones(7, np.int64)) == scores(whole, match(whole, "hungarian"), THREE)
    twice = found.matrix(np.array([0, 2, 0, 0, 1, 0, 0]))
    expected = naive.confusion(
        label[[1, 1, 4]].flatten().tolist(), prediction[[1, 1, 4]].flatten().tolist(), num_classes=3, num_clusters=4
    )
    assert twice.tolist() == expected


def test_images_of_any_order_and_size_and_those_without_a_counted_pixel() -> None:
    prediction, label = seeded(6)
    label[2] = 255
    metric = PerImage(THREE, 4, "hungarian")
    for index in (5, 2, 0, 4, 1, 3):
        rows = slice(0, 3 + index % 2)  # images of two heights
        metric.update(prediction[[index], rows], label[[index], rows], torch.tensor([index]))
    found = metric.compute()
    assert found.counts.shape == (5, 12)
    assert found.counts.sum(axis=1).tolist() == [(2 + index % 2) * 8 for index in (0, 1, 3, 4, 5)]
    metric.reset()
    metric.update(prediction[:1], label[:1], torch.arange(1))
    assert metric.compute().counts.sum() == 5 * 8


def share(rank: int) -> list[tuple[np.ndarray, dict[str, Interval]]]:
    """Five images, the even ones here and the odd ones there; then one, which the second process has not."""
    prediction, label = seeded(5)
    results = []
    for mine in (range(rank, 5, 2), range(1 - rank)):
        metric = PerImage(THREE, 4, "hungarian")
        for index in mine:
            metric.update(prediction[[index]], label[[index]], torch.tensor([index]))
        found = metric.compute()
        results.append((found.counts.toarray(), bootstrap(found, 20)))
    return results


def test_two_processes_equal_one_even_if_one_has_no_image(tmp_path: Path) -> None:
    prediction, label = seeded(5)
    for results in in_two_processes(share, tmp_path):
        for (counts, intervals), images in zip(results, (5, 1), strict=True):
            expected = measured(prediction[:images], label[:images])
            np.testing.assert_array_equal(counts, expected.counts.toarray())
            assert intervals == bootstrap(expected, 20)


@pytest.mark.parametrize("matching", ["hungarian", "majority"])
def test_bootstrap_equals_the_loop_with_the_same_draws(matching: str) -> None:
    """Every draw sums the matrices of its images, one by one, and matches anew."""
    prediction, label = seeded(9)
    matrices, generator = measured(prediction, label, matching), np.random.default_rng(5)
    collected: dict[str, list[float]] = {}
    for _ in range(40):
        chosen = generator.integers(9, size=9).tolist()
        total = torch.zeros(3, 4, dtype=torch.int64)
        for index in chosen:
            pixels = label[index].flatten().tolist(), prediction[index].flatten().tolist()
            total += torch.tensor(naive.confusion(*pixels, 3, 4))
        for name, value in scores(total, match(total, matching), THREE).items():
            collected.setdefault(name, []).append(value)
    found = bootstrap(matrices, 40, seed=5)
    assert {name: (one.low, one.high) for name, one in found.items()} == {
        name: tuple(np.percentile(values, [2.5, 97.5])) for name, values in collected.items()
    }
    assert {name: one.value for name, one in found.items()} == matrices.scores(np.ones(9, np.int64))


def test_identity_is_never_matched_anew() -> None:
    """Clusters 0 and 2 are classes 2 and 0: hungarian matching finds that, identity takes them as they are."""
    prediction, label = seeded(9, right=0.9)
    metrics = {matching: PerImage(THREE, 3, matching) for matching in ("identity", "hungarian")}
    for metric in metrics.values():
        metric.update(prediction.clamp(max=2), label, torch.arange(9))
    identity, hungarian = (bootstrap(metric.compute(), 100)["accuracy"] for metric in metrics.values())
    assert identity.high < hungarian.low
    assert identity.low < identity.value < identity.high
    correct = (prediction.clamp(max=2) == label).sum() / (label != 255).sum()
    assert identity.value == pytest.approx(100 * correct.item(), rel=1e-6)


def test_every_draw_has_as_many_images_as_there_are() -> None:
    found = np.array(list(draws(50, 200, seed=1)))
    assert found.shape == (200, 50)
    assert (found.sum(axis=1) == 50).all()
    assert np.abs(found.mean(axis=0) - 1).max() < 0.35  # 200 draws: standard deviation 0.07
    assert found.var() == pytest.approx(0.98, abs=0.05)  # n p (1 - p)
    assert not np.array_equal(found, list(draws(50, 200, seed=2)))
    np.testing.assert_array_equal(found, list(draws(50, 200, seed=1)))


def test_bootstrap_agrees_with_scipy() -> None:
    """Each end scatters by 0.06 standard deviations at 2,000 draws; four times that of both is 9 % of the width."""
    matrices = measured(*seeded(40))

    def miou(index: np.ndarray) -> float:
        return matrices.scores(np.bincount(index, minlength=40))["mIoU"]

    theirs = scipy.stats.bootstrap(
        (np.arange(40),),
        miou,
        n_resamples=2000,
        vectorized=False,
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    ours = bootstrap(matrices, 2000, seed=1)["mIoU"]
    bound = 0.09 * (theirs.high - theirs.low)
    assert ours.low < ours.value < ours.high
    assert abs(ours.low - theirs.low) < bound
    assert abs(ours.high - theirs.high) < bound


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """The accuracy of 80 samples of 30 images from a large population: 95 % expected, 2.4 % standard deviation."""
    prediction, label = seeded(6000)
    population = confusion_matrix(label, prediction, 3, 4)
    truth, held = scores(population, match(population, "hungarian"), THREE)["accuracy"], 0
    for sample in range(80):
        part = slice(30 * sample, 30 * sample + 30)
        found = bootstrap(measured(prediction[part], label[part], batch=30), 100, seed=sample)["accuracy"]
        held += found.low <= truth <= found.high
    assert 0.85 <= held / 80 <= 1


def test_more_images_give_narrower_intervals() -> None:
    few, many = (bootstrap(measured(*seeded(count)), 200)["mIoU"] for count in (10, 160))
    assert 2 < (few.high - few.low) / (many.high - many.low) < 8  # 4 expected


def test_a_score_that_is_never_defined_has_no_ends() -> None:
    """Nothing is a cat, and no cluster is matched to cats."""
    prediction, label = seeded(6)
    found = bootstrap(measured(prediction, label.where(label == 255, label.clamp(max=1)), "majority"), 20)
    assert all(map(math.isnan, found["mIoU_thing"]))
    assert not any(map(math.isnan, found["mIoU"]))


def test_no_images_give_no_numbers() -> None:
    prediction, label = seeded(2)
    found = bootstrap(measured(prediction, torch.full_like(label, 255)), 20)
    assert all(math.isnan(end) for interval in found.values() for end in interval)


def test_no_resamples_give_no_intervals() -> None:
    matrices = measured(*seeded(5))
    assert bootstrap(matrices, 0) == {}
    assert paired_difference(matrices, matrices, 0) == {}


def test_a_module_does_not_differ_from_itself() -> None:
    matrices = measured(*seeded(12))
    found = paired_difference(matrices, matrices, 100)
    assert set(found) == set(bootstrap(matrices, 1))
    assert set(found.values()) == {Interval(0, 0, 0)}


def test_renumbered_clusters_do_not_differ() -> None:
    prediction, label = seeded(12)
    found = paired_difference(measured(prediction, label), measured((prediction + 1) % 4, label), 50)
    assert [round(end, 9) for end in found["mIoU"]] == [0, 0, 0]


def test_pairs_equal_the_loop_with_the_same_draws() -> None:
    (better, label), (worse, _) = seeded(9, right=0.9), seeded(9, right=0.4)
    first, second, generator = measured(better, label), measured(worse, label), np.random.default_rng(0)
    differences = []
    for _ in range(40):
        weights = np.zeros(9, np.int64)
        for index in generator.integers(9, size=9):
            weights[index] += 1
        differences.append(first.scores(weights)["mIoU"] - second.scores(weights)["mIoU"])
    found, once = paired_difference(first, second, 40)["mIoU"], np.ones(9, np.int64)
    assert found.value == first.scores(once)["mIoU"] - second.scores(once)["mIoU"]
    assert (found.low, found.high) == tuple(np.percentile(differences, [2.5, 97.5]))
    turned = paired_difference(second, first, 40)["mIoU"]
    assert turned == pytest.approx((-found.value, -found.high, -found.low))


def test_a_pair_is_told_apart_where_its_own_intervals_overlap() -> None:
    """The same easy and hard images: the second is the first with every twentieth pixel wrong."""
    prediction, label = seeded(60)
    spoilt = prediction.clone()
    spoilt.view(-1)[::20] = 3
    first, second = measured(prediction, label), measured(spoilt, label)
    one, other = bootstrap(first, 300)["accuracy"], bootstrap(second, 300)["accuracy"]
    found = paired_difference(first, second, 300)["accuracy"]
    assert one.low < other.high  # alone they overlap
    assert found.low > 0
    assert found.value == pytest.approx(one.value - other.value)
    independent = math.hypot(one.high - one.low, other.high - other.low)
    assert found.high - found.low < independent / 2


def test_other_images_can_not_be_paired() -> None:
    prediction, label = seeded(6)
    matrices = measured(prediction, label)
    fewer = measured(prediction[:5], label[:5])
    refusal(lambda: paired_difference(matrices, fewer, 10), "6 and 5 images", "the same images under the same protocol")
    changed = label.clone()
    changed[3, 1, 1] = (label[3, 1, 1] + 1) % 3
    refusal(lambda: paired_difference(matrices, measured(prediction, changed), 10), "on other labels")
    others = ImageMatrices(matrices.counts, (Category("sea", "stuff"), *THREE[1:]), "hungarian")
    refusal(lambda: paired_difference(matrices, others, 0), "on other labels")
