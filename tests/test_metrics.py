"""Matching and scores against obvious loops and hand-computed values."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from src.errors import DenseSiamError
from src.metrics import (
    Category,
    class_iou,
    confusion_matrix,
    match,
    named_iou,
    release_block_scores,
    scores,
)
from tests import naive
from tests.factories import paper
from tests.refusals import refusal

THREE = [Category("sky", "stuff"), Category("grass", "stuff"), Category("cat", "thing")]

matrices = st.tuples(st.integers(2, 4), st.integers(0, 2)).flatmap(
    lambda size: arrays(np.int64, (size[0], size[0] + size[1]), elements=st.integers(0, 50))
)


def test_release_blocks_depend_on_cluster_numbers_and_ours_do_not() -> None:
    confusion = torch.tensor([[5, 1, 2], [3, 6, 1], [1, 2, 9]])
    moved = confusion[:, [2, 1, 0]]
    mappings = match(confusion, "hungarian"), match(moved, "hungarian")
    assert release_block_scores(confusion, mappings[0], 1) != release_block_scores(moved, mappings[1], 1)
    assert scores(confusion, mappings[0], THREE) == scores(moved, mappings[1], THREE)


@pytest.mark.parametrize(("shape", "mapping"), [((2, 3), [0, 1, -1]), ((2, 2), [0, 0])])
def test_release_blocks_need_one_to_one(shape: tuple[int, int], mapping: list[int]) -> None:
    with pytest.raises(ValueError, match="one to one"):
        release_block_scores(torch.ones(shape, dtype=torch.int64), torch.tensor(mapping), 1)


def test_two_by_two_by_hand() -> None:
    confusion = torch.tensor([[1, 3], [4, 2]])
    mapping = match(confusion, "hungarian")
    assert mapping.tolist() == [1, 0]
    # class 0: 3 / (4 + 5 - 3), class 1: 4 / (6 + 5 - 4)
    found = scores(confusion, mapping, [Category("sky", "stuff"), Category("cat", "thing")])
    assert found == pytest.approx(
        {
            "mIoU": 100 * (1 / 2 + 4 / 7) / 2,
            "mIoU_stuff": 50,
            "mIoU_thing": 400 / 7,
            "accuracy": 70,
            "mean_accuracy": 100 * (3 / 4 + 4 / 6) / 2,
        }
    )


def test_three_by_three_by_hand() -> None:
    confusion = torch.tensor([[2, 0, 2], [1, 1, 4], [0, 3, 0]])
    mapping = match(confusion, "hungarian")
    assert mapping.tolist() == [0, 2, 1]
    # class 0: 2 / (4 + 3 - 2), class 1: 4 / (6 + 6 - 4), class 2: 3 / (3 + 4 - 3)
    assert named_iou(confusion, mapping, THREE) == pytest.approx({"IoU/sky": 40, "IoU/grass": 50, "IoU/cat": 75})
    found = scores(confusion, mapping, THREE)
    assert found["mIoU"] == pytest.approx(55)
    assert found["mIoU_stuff"] == pytest.approx(45)
    assert found["mIoU_thing"] == pytest.approx(75)
    assert found["accuracy"] == pytest.approx(900 / 13)


@given(matrices, st.randoms(use_true_random=False), st.sampled_from(["hungarian", "majority"]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_renumbering_the_clusters_changes_nothing(counts: np.ndarray, random, method: str) -> None:
    # Distinct powers of two below the counts leave no two matchings with the same number of correct pixels.
    confusion = torch.from_numpy(counts) * 2**24 + 2 ** torch.arange(counts.size).reshape(counts.shape)
    order = random.sample(range(counts.shape[1]), counts.shape[1])
    categories = [Category(str(k), "thing" if k == 0 else "stuff") for k in range(len(counts))]
    mapping, moved = match(confusion, method), match(confusion[:, order], method)
    assert moved.tolist() == mapping[order].tolist()
    assert scores(confusion[:, order], moved, categories) == scores(confusion, mapping, categories)


@given(matrices)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_hungarian_is_the_best_of_all_permutations(counts: np.ndarray) -> None:
    mapping = match(torch.from_numpy(counts), "hungarian").tolist()
    correct = sum(int(counts[true, cluster]) for cluster, true in enumerate(mapping) if true >= 0)
    assert correct == naive.best_correct(counts.tolist())
    assert sorted(true for true in mapping if true >= 0) == list(range(len(counts)))


@given(matrices, st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_scores_equal_the_loops(counts: np.ndarray, data: st.DataObject) -> None:
    """For any mapping: one to one, many to one, with classes and clusters that nothing is matched to."""
    num_classes, num_clusters = counts.shape
    mapping = data.draw(st.lists(st.integers(-1, num_classes - 1), min_size=num_clusters, max_size=num_clusters))
    expected = naive.class_iou(counts.tolist(), mapping)
    categories = [Category(str(k), "thing" if k % 2 else "stuff") for k in range(num_classes)]
    found = scores(torch.from_numpy(counts), torch.tensor(mapping), categories)
    np.testing.assert_allclose(class_iou(torch.from_numpy(counts), torch.tensor(mapping)), expected, atol=1e-9)
    assert found["mIoU"] == pytest.approx(naive.nanmean(expected), nan_ok=True)
    assert found["mIoU_stuff"] == pytest.approx(naive.nanmean(expected[::2]), nan_ok=True)
    assert found["mIoU_thing"] == pytest.approx(naive.nanmean(expected[1::2]), nan_ok=True)


def test_unmatched_clusters_count_as_wrong() -> None:
    confusion = torch.tensor([[6, 0, 4], [0, 8, 2]])
    mapping = match(confusion, "hungarian")
    assert mapping.tolist() == [0, 1, -1]
    assert class_iou(confusion, mapping).tolist() == pytest.approx([60, 80])
    found = scores(confusion, mapping, THREE[:2])
    assert found["accuracy"] == pytest.approx(70)
    assert found["mean_accuracy"] == pytest.approx(70)


def test_majority_is_many_to_one() -> None:
    confusion = torch.tensor([[6, 0, 4, 0], [0, 8, 2, 0]])
    mapping = match(confusion, "majority")
    assert mapping.tolist() == [0, 1, 0, -1]
    assert class_iou(confusion, mapping).tolist() == pytest.approx([1000 / 12, 80])
    assert match(confusion[:, :1], "majority").tolist() == [0]  # fewer clusters than classes is allowed


def test_identity_takes_outputs_for_classes() -> None:
    """Hungarian matching would swap the two, and get 90 % right."""
    confusion = torch.tensor([[1, 9, 0], [9, 1, 0], [0, 0, 0]])
    mapping = match(confusion, "identity")
    assert mapping.tolist() == [0, 1, 2]
    assert scores(confusion, mapping, THREE)["accuracy"] == pytest.approx(10)
    confusion = confusion_matrix(torch.tensor([1, 1, 0, 255]), torch.tensor([0, 1, 1, 2]), 3, 3)
    assert scores(confusion, mapping, THREE)["accuracy"] == pytest.approx(100 / 3)


@pytest.mark.parametrize("outputs", [2, 4])
def test_identity_needs_an_output_per_class(outputs: int) -> None:
    message = f"found {outputs} outputs and 3 classes"
    refusal(lambda: match(torch.ones(3, outputs, dtype=torch.int64), "identity"), message)


def test_clusters_found_without_labels_are_never_taken_for_classes() -> None:
    refusal(lambda: paper(matching="identity"), "protocol.matching is 'identity': choose one of hungarian, majority")


def test_absent_classes_are_left_out() -> None:
    """Class 2 is in neither; class 1 is predicted but not true, and counts as 0."""
    confusion = torch.tensor([[6, 2, 0], [0, 0, 0], [0, 0, 0]])
    mapping = torch.tensor([0, 1, 2])
    found = scores(confusion, mapping, THREE)
    assert found["mIoU"] == pytest.approx((75 + 0) / 2)
    assert math.isnan(found["mIoU_thing"])
    assert found["mean_accuracy"] == pytest.approx(75)
    assert math.isnan(named_iou(confusion, mapping, THREE)["IoU/cat"])


def test_a_kind_without_categories_has_no_key() -> None:
    found = scores(torch.eye(2, dtype=torch.int64), torch.arange(2), THREE[:2])
    assert set(found) == {"mIoU", "mIoU_stuff", "accuracy", "mean_accuracy"}


def test_the_number_of_categories_must_be_that_of_the_rows() -> None:
    with pytest.raises(ValueError, match="shorter"):
        scores(torch.eye(4, dtype=torch.int64), torch.arange(4), THREE)


def test_no_pixels_give_nan() -> None:
    found = scores(torch.zeros(3, 3, dtype=torch.int64), torch.arange(3), THREE)
    assert all(math.isnan(value) for value in found.values())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("ignore_index", [255, -1, 2])
def test_confusion_equals_the_loop(dtype: torch.dtype, ignore_index: int) -> None:
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 5, (2, 7, 9), generator=generator).to(dtype)
    label[0, :2] = 255 if ignore_index == 255 else 2
    if dtype != torch.uint8:
        label[1, 3] = -1
        label[1, 4] = -7
    prediction = torch.randint(0, 6, (2, 7, 9), generator=generator)
    found = confusion_matrix(label, prediction.to(torch.uint8), 5, 6, ignore_index)
    expected = naive.confusion(label.flatten().tolist(), prediction.flatten().tolist(), 5, 6, ignore_index)
    assert found.dtype == torch.int64
    assert found.tolist() == expected


def test_predictions_are_free_where_the_label_is_ignored() -> None:
    found = confusion_matrix(torch.tensor([0, 255, -1]), torch.tensor([1, 99, -5]), 2, 2)
    assert found.tolist() == [[0, 1], [0, 0]]
    assert confusion_matrix(torch.tensor([255]), torch.tensor([0]), 2, 3).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_a_label_that_is_no_class_is_the_users_mistake() -> None:
    with pytest.raises(DenseSiamError, match=r"expected labels 0\.\.2, -1 \(ignored\) or negative, found 255"):
        confusion_matrix(torch.tensor([0, 255]), torch.tensor([0, 0]), 3, 3, ignore_index=-1)


@pytest.mark.parametrize(
    ("label", "prediction"),
    [
        (torch.tensor([0, 1]), torch.tensor([0])),
        (torch.tensor([0.0]), torch.tensor([0])),
        (torch.tensor([0]), torch.tensor([0.0])),
        (torch.tensor([0]), torch.tensor([3])),
        (torch.tensor([0]), torch.tensor([-1])),
    ],
)
def test_wrong_tensors_are_refused(label: Tensor, prediction: Tensor) -> None:
    with pytest.raises(ValueError, match="expected"):
        confusion_matrix(label, prediction, 3, 3)
