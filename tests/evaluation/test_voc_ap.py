"""VOC's average precision: by hand, and against the loop of its development kit on real annotations."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from src.data.voc_detection import VOCImages
from src.evaluation.voc_ap import THRESHOLDS
from src.metrics import Category
from tests.detections import Part, found, label, near, scored, voc_classes
from tests.naive import voc_ap

BOX, OTHER, FAR = (10, 10, 30, 30), (50, 50, 90, 90), (100, 100, 120, 120)


def ap50(labels: list[Part], detections: list[Part], metric: str = "voc2012") -> float:
    return scored(labels, detections, metric).scores["AP50"]


def test_a_perfect_detector_has_100() -> None:
    labels = [label((0, BOX), (1, OTHER)), label((2, BOX))]
    exact = [found((0, BOX, 0.9), (1, OTHER, 0.8)), found((2, BOX, 0.1))]
    for metric in ("voc2007", "voc2012", "coco"):
        scores = scored(labels, exact, metric).scores
        assert {name: round(value, 9) for name, value in scores.items()} == dict.fromkeys(scores, 100.0)


def test_half_found_then_a_false_one() -> None:
    """Two objects, one found with precision 1: recall 0.5. The curve ends there."""
    labels, found_one = [label((0, BOX), (0, OTHER))], [found((0, BOX, 0.9), (0, FAR, 0.5))]
    assert ap50(labels, found_one) == pytest.approx(50)
    assert ap50(labels, found_one, "voc2007") == pytest.approx(100 * 6 / 11)  # recalls 0, 0.1, ..., 0.5


def test_a_false_one_before_the_right_one() -> None:
    labels, late = [label((0, BOX))], [found((0, FAR, 0.9), (0, BOX, 0.5))]
    assert ap50(labels, late) == pytest.approx(50)
    assert ap50(labels, late, "voc2007") == pytest.approx(50)


def test_a_second_detection_of_an_object_is_false() -> None:
    labels = [label((0, BOX), (0, OTHER))]
    twice = [found((0, BOX, 0.9), (0, BOX, 0.8), (0, OTHER, 0.7))]  # true, false, true: precisions 1 and 2/3
    assert ap50(labels, twice) == pytest.approx(100 * (0.5 + 0.5 * 2 / 3))
    assert ap50(labels, twice, "voc2007") == pytest.approx(100 * (6 + 5 * 2 / 3) / 11)


def test_difficult_objects_count_neither_as_objects_nor_against_a_detection() -> None:
    labels = [label((0, BOX), (0, OTHER), ignored=[1])]
    both = [found((0, OTHER, 0.9), (0, OTHER, 0.8), (0, BOX, 0.5))]  # two of the difficult one, both left out
    assert ap50(labels, both) == pytest.approx(100)
    assert scored(labels, both).counted() == {
        "images": 1,
        "objects": 1,
        "difficult objects left out": 1,
        "absent classes": "dog, cow",
    }


def test_a_detection_belongs_to_the_object_with_the_highest_iou() -> None:
    """A detection nearest to an object that is taken is false, although another object is near enough."""
    labels = [label((0, (0, 0, 100, 100)), (0, (0, 0, 100, 120)))]
    detections = [found((0, (0, 0, 100, 100), 0.9), (0, (0, 0, 100, 101), 0.8))]
    assert ap50(labels, detections) == pytest.approx(50)


def test_the_iou_has_to_be_above_the_threshold() -> None:
    """VOC's pixels hold both ends, so these boxes of 20 and 10 columns share exactly half."""
    assert ap50([label((0, (0, 0, 20, 20)))], [found((0, (0, 0, 10, 20), 0.9))]) == 0
    assert ap50([label((0, (0, 0, 20, 20)))], [found((0, (0, 0, 11, 20), 0.9))]) == 100


def test_no_detections_are_0_and_classes_without_objects_are_left_out() -> None:
    nothing = [found(), found()]
    scores = scored([label((0, BOX)), label()], nothing).scores
    assert scores["AP"] == scores["AP50"] == scores["COCO_AP"] == scores["AP/cat"] == 0
    assert np.isnan(scores["AP/dog"])
    only_false = scored([label((0, BOX))], [found((0, BOX, 0.9), (1, BOX, 0.8))]).scores
    assert only_false["AP"] == pytest.approx(100)  # detectron2 would count the class without objects as 0
    without = scored([label()], [found((0, BOX, 0.5))]).scores
    assert all(np.isnan(value) for value in without.values())


@pytest.mark.parametrize("metric", ["voc2007", "voc2012"])
def test_real_annotations_against_the_loop_of_the_development_kit(
    shared_data: Callable[[str], Path], metric: str
) -> None:
    images = VOCImages(shared_data("voc2007det"), ["val"], voc_classes())
    generator = torch.Generator().manual_seed(0)
    labels = [images.objects(index) for index in range(len(images))]
    detections = [near(one, 20, generator) for one in labels]
    classes = [Category(name, "thing") for name in voc_classes()]
    scores = scored(labels, detections, metric, classes).scores
    one_based = torch.tensor([1, 1, 0, 0])
    table = np.zeros((20, 10))
    for k in range(20):
        objects = [
            (number, (one["boxes"][own] + one_based).tolist(), one["ignored"][own].tolist())
            for number, one in enumerate(labels)
            for own in [one["labels"] == k]
        ]
        rows = [
            (number, score, box)
            for number, one in enumerate(detections)
            for own in [one["labels"] == k]
            for score, box in zip(
                one["scores"][own].tolist(), (one["boxes"][own] + one_based).double().tolist(), strict=True
            )
        ]
        table[k] = [voc_ap(objects, rows, threshold, metric == "voc2007") for threshold in THRESHOLDS.tolist()]
    assert scores["AP"] == pytest.approx(table.mean(), abs=1e-9)
    assert scores["AP50"] == pytest.approx(table[:, 0].mean(), abs=1e-9)
    assert scores["AP75"] == pytest.approx(table[:, 5].mean(), abs=1e-9)
    assert [scores[f"AP/{name}"] for name in voc_classes()] == pytest.approx(table.mean(axis=1).tolist(), abs=1e-9)
    assert 20 < scores["AP"] < 80  # neither trivial end
