"""Scores of detections: over processes, in any order, with intervals, and what is left out."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from src.evaluation.bootstrap import draws
from src.evaluation.detection_protocol import DetectionProtocol
from src.evaluation.detection_scoring import DetectionScoring
from tests.detections import CLASSES, Part, found, label, near, protocol, scored
from tests.processes import in_two_processes
from tests.refusals import refusal

BOX, OTHER = (10, 10, 30, 30), (50, 50, 90, 90)


def seeded_images(count: int, masks: bool = False) -> tuple[list[Part], list[Part]]:
    """Labels and detections of some images, every fourth without objects."""
    generator = torch.Generator().manual_seed(3)
    labels, detections = [], []
    for number in range(count):
        objects = 0 if number % 4 == 3 else 3 + number % 3
        corner = 40 * torch.rand(objects, 2, generator=generator)
        boxes = torch.cat([corner, corner + 8 + 20 * torch.rand(objects, 2, generator=generator)], dim=1)
        each = torch.randint(3, (objects,), generator=generator).tolist()
        one = label(*zip(each, boxes.tolist(), strict=True), ignored=[0] if number % 3 == 0 else [])
        if masks:
            one["masks"] = torch.zeros(objects, 70 + number, 80, dtype=torch.uint8)
            for place, (x0, y0, x1, y1) in enumerate(boxes.long().tolist()):
                one["masks"][place, y0:y1, x0:x1] = 1
        labels.append(one)
        detections.append(near(one, 3, generator, masks))
    return labels, detections


def shared_scores(rank: int) -> tuple[dict[str, float], dict[str, float], dict[str, object]]:
    """Scores of seven images, four here and three there, of boxes by VOC and of masks by COCO."""
    labels, detections = seeded_images(7, masks=True)
    order = range(rank, 7, 2)
    boxes = scored(labels, detections, "voc2007", order=order)
    return boxes.scores, scored(labels, detections, "coco", with_masks=True, order=order).scores, boxes.counted()


def test_two_processes_equal_one_on_an_odd_number_of_images(tmp_path: Path) -> None:
    labels, detections = seeded_images(7, masks=True)
    boxes = scored(labels, detections, "voc2007")
    masks = scored(labels, detections, "coco", with_masks=True)
    assert 0 < masks.scores["mask_AP"] < 100
    for found_boxes, found_masks, counted in in_two_processes(shared_scores, tmp_path):
        assert found_boxes == boxes.scores  # the same to the last bit
        assert found_masks == masks.scores
        assert counted == boxes.counted() == {"images": 7, "objects": 22, "difficult objects left out": 2}


def lonely(rank: int) -> float:
    """Both processes compute, but one has no image."""
    labels, detections = seeded_images(1)
    return scored(labels, detections, order=[0] if rank else []).scores["AP"]


def test_a_process_without_images_takes_part(tmp_path: Path) -> None:
    labels, detections = seeded_images(1)
    assert in_two_processes(lonely, tmp_path) == [scored(labels, detections).scores["AP"]] * 2


@pytest.mark.parametrize("metric", ["voc2012", "coco"])
def test_the_order_of_the_images_does_not_matter(metric: str) -> None:
    labels, detections = seeded_images(9)
    for one in detections:
        one["scores"] = (one["scores"] * 4).round() / 4  # many equal scores
    assert (
        scored(labels, detections, metric, order=[*range(8, -1, -1)]).scores
        == scored(labels, detections, metric).scores
    )


def test_intervals_are_those_of_scores_of_drawn_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.evaluation.detection_scoring.AT_ONCE", 10)
    labels, detections = seeded_images(9)
    scoring = scored(labels, detections, "voc2007")
    resamples = 24  # more than are computed at once
    expected = []
    for weights in draws(9, resamples, seed=0):
        chosen = np.repeat(np.arange(9), weights).tolist()
        expected.append(scored([labels[k] for k in chosen], [detections[k] for k in chosen], "voc2007").scores["AP50"])
    interval = scoring.scored(resamples).intervals["AP50"]
    assert interval.value == scoring.scores["AP50"]
    assert (interval.low, interval.high) == pytest.approx(tuple(np.nanpercentile(expected, (2.5, 97.5))))
    assert set(scoring.scored(resamples).intervals) == {"AP", "AP50", "AP75"}
    assert scoring.scored(0).intervals == {}
    assert scored(labels, detections, "coco").scored(resamples).intervals == {}


def test_a_difference_is_paired() -> None:
    labels, detections = seeded_images(9)
    worse = [{**one, "scores": one["scores"].flip(0)} for one in detections]
    first, second = scored(labels, detections), scored(labels, worse)
    difference = first.difference(second, 50)
    assert difference["AP"].value == pytest.approx(first.scores["AP"] - second.scores["AP"])
    assert difference["AP"].low < difference["AP"].value < difference["AP"].high
    assert math.isnan(difference["COCO_AP"].low)
    assert first.difference(first, 50)["AP50"] == (0, 0, 0)
    others, found_there = seeded_images(5)
    refusal(lambda: first.difference(scored(others, found_there), 50), "9 and 5 images", "the same images")
    refusal(lambda: first.difference(scored(labels, worse, "voc2012"), 50), "other metrics")


def test_an_image_that_was_skipped_is_not_counted() -> None:
    labels, detections = [label((0, BOX)), label() | {"skipped": torch.tensor(True)}], [found((0, BOX, 0.5))]
    scoring = scored(labels, [*detections, found((0, OTHER, 0.9))])
    assert scoring.scores["AP"] == 100
    assert scoring.counted()["images"] == 1
    refusal(lambda: scored(labels[1:], detections), "no image was scored", "unreadable.txt")


def test_a_reset_forgets_the_images_and_keeps_the_scores() -> None:
    scoring = DetectionScoring(CLASSES, protocol(), with_masks=False)
    with pytest.raises(RuntimeError, match="nothing has been validated"):
        scoring.scored(10)
    scoring.update([found((0, BOX, 0.5))], [label((0, BOX))], torch.tensor([0]))
    scoring.compute()
    scoring.reset()
    assert scoring.scores["AP"] == 100
    scoring.update([found()], [label((0, BOX))], torch.tensor([0]))
    assert scoring.compute()["AP"] == 0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"metric": "voc"}, "protocol.metric is 'voc': choose one of voc2007, voc2012, coco"),
        ({"side": 0}, "protocol.side is 0"),
        ({"side": 96, "longest": 64}, "raise protocol.longest"),
        ({"resamples": -1}, "protocol.resamples is -1"),
    ],
)
def test_wrong_protocols_are_refused(values: dict[str, object], expected: str) -> None:
    usual = {"name": "test", "metric": "coco", "side": 96, "longest": 160, "resamples": 0}
    refusal(lambda: DetectionProtocol(**usual | values), expected)
