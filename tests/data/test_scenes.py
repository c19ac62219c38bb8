"""The synthetic scenes: same arguments, same bytes; honest labels; colour that does not give them away."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans

from src.data.scenes import CLASSES, render
from src.metrics import Category


def batch(start: int, count: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images `(count, size, size, 3)` and labels `(count, size, size)`."""
    images, labels = zip(*(render(3, index, size) for index in range(start, start + count)), strict=True)
    return np.stack(images), np.stack(labels)


@pytest.fixture(scope="module")
def scenes() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return batch(0, 60, 48)


def colour_clustering_miou(train: NDArray[np.uint8], images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> float:
    """Hungarian-matched mean IoU of k-means on pixel colours, fitted on every seventh pixel of `train`."""
    count = len(CLASSES)
    kmeans = KMeans(count, n_init=2, random_state=0).fit(train.reshape(-1, 3)[::7].astype(np.float32))
    found = kmeans.predict(images.reshape(-1, 3).astype(np.float32))
    confusion = np.bincount(labels.reshape(-1).astype(int) * count + found, minlength=count**2).reshape(count, count)
    rows, columns = linear_sum_assignment(confusion, maximize=True)
    matched = confusion[rows, columns]
    return float((matched / (confusion.sum(1) + confusion.sum(0)[columns] - matched)).mean())


def test_classes_are_five_kinds_of_stuff_and_three_of_things() -> None:
    assert all(isinstance(category, Category) for category in CLASSES)
    assert [category.kind for category in CLASSES] == ["stuff"] * 5 + ["thing"] * 3
    assert len({category.name for category in CLASSES}) == 8


@pytest.mark.parametrize("size", [17, 64, 96])
def test_shapes_and_types(size: int) -> None:
    image, label = render(0, 0, size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert label.shape == (size, size)
    assert label.dtype == np.uint8
    assert label.max() < len(CLASSES)


def test_same_arguments_give_the_same_bytes_and_others_do_not() -> None:
    image, label = render(1, 7, 48)
    again, label_again = render(1, 7, 48)
    assert image.tobytes() == again.tobytes()
    assert label.tobytes() == label_again.tobytes()
    for seed, index in ((1, 8), (2, 7), (7, 1)):
        other, other_label = render(seed, index, 48)
        assert (image != other).any()
        assert (label != other_label).any()


def test_global_generator_is_neither_read_nor_moved() -> None:
    np.random.seed(0)  # noqa: NPY002  the global generator is what is tested
    before = render(1, 7, 32)[0]
    drawn = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    assert drawn == np.random.random()  # noqa: NPY002
    np.testing.assert_array_equal(render(1, 7, 32)[0], before)


def test_every_class_is_frequent(scenes: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    frequency = np.bincount(scenes[1].reshape(-1), minlength=len(CLASSES)) / scenes[1].size
    for category, share in zip(CLASSES, frequency, strict=True):
        low, high = (0.10, 0.25) if category.kind == "stuff" else (0.025, 0.09)
        assert low < share < high, f"{category.name} covers {share:.1%} of the pixels"


def test_most_scenes_show_a_thing_and_two_kinds_of_stuff(scenes: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    shown = [np.unique(label) for label in scenes[1]]
    assert np.mean([(ids >= 5).any() for ids in shown]) > 0.95
    assert np.mean([(ids < 5).sum() >= 2 for ids in shown]) > 0.95


def test_a_scene_is_the_same_at_every_size() -> None:
    for index in range(20):
        small_image, small = render(4, index, 64)
        large_image, large = render(4, index, 128)
        assert (large[::2, ::2] == small).mean() > 0.9
        pooled = large_image.reshape(64, 2, 64, 2, 3).mean((1, 3))
        assert np.abs(pooled - small_image).mean() < 15


def test_colour_alone_is_ambiguous_but_not_useless(scenes: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    images, labels = batch(1000, 40, 48)
    assert 0.20 < colour_clustering_miou(scenes[0], images, labels) < 0.50
