"""COCO's average precision: the same as pycocotools computes from the annotations themselves."""

import json
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from src.coco_eval import require_coco_eval
from src.data.coco_detection import all_images
from src.data.coco_file import read_coco
from src.evaluation.coco_ap import encoded
from tests.detections import Part, found, label, near, scored
from tests.refusals import refusal

BOX, OTHER, FAR = (10, 10, 30, 30), (50, 50, 90, 90), (100, 100, 120, 120)


def with_pycocotools(annotations: Path, results: list[dict[str, Any]], kind: str) -> NDArray[np.float64]:
    """(10, C) AP in percent at each IoU of each class, -100 for classes without objects."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with redirect_stdout(StringIO()):
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
    return 100 * evaluation.eval["precision"][:, :, :, 0, 2].mean(axis=1)


def as_results(detections: Part, image: int, categories: list[int]) -> list[dict[str, Any]]:
    """Detections as pycocotools reads them."""
    boxes = detections["boxes"].double()
    sizes = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1).tolist()
    height, width = detections["masks"].shape[1:]
    codes = encoded(detections["masks"].to(torch.uint8).numpy())
    rows = zip(detections["labels"].tolist(), sizes, detections["scores"].tolist(), codes, strict=True)
    return [
        {
            "image_id": image,
            "category_id": categories[number],
            "bbox": box,
            "score": score,
            "segmentation": {"size": [height, width], "counts": code.decode()},
        }
        for number, box, score, code in rows
    ]


@pytest.mark.slow
def test_boxes_and_masks_equal_pycocotools(shared_data: Callable[[str], Path]) -> None:
    """With crowds, images without objects, and classes and images without detections."""
    root = shared_data("coco207")
    path = root / "annotations" / "instances_val.json"
    file = read_coco(path, root / "images" / "val", with_masks=True)
    images, categories = all_images(file), sorted(one["id"] for one in json.loads(path.read_text())["categories"])
    generator = torch.Generator().manual_seed(0)
    labels = [images.objects(index, images.stated_size(index)) for index in range(len(images))]
    detections = [near(one, 80, generator, masks=True) for one in labels]
    missed = int(labels[0]["labels"][0])
    for number, one in enumerate(detections):
        keep = (one["labels"] != missed) & (number % 7 != 3)
        detections[number] = {name: value[keep] for name, value in one.items()}
    assert sum(bool(one["ignored"].any()) for one in labels) == 1
    own = scored(labels, detections, "coco", file.classes, with_masks=True).scores
    results = [
        row
        for number, one in zip(file.ids.tolist(), detections, strict=True)
        for row in as_results(one, number, categories)
    ]
    for kind, prefix in (("bbox", ""), ("segm", "mask_")):
        theirs = with_pycocotools(path, results, kind)
        known = theirs[:, theirs[0] > -1]
        assert own[f"{prefix}AP"] == pytest.approx(known.mean(), abs=1e-6)
        assert own[f"{prefix}AP50"] == pytest.approx(known[0].mean(), abs=1e-6)
        assert own[f"{prefix}AP75"] == pytest.approx(known[5].mean(), abs=1e-6)
        assert 5 < own[f"{prefix}AP"] < 80
        if kind == "bbox":
            expected = np.where(theirs[0] > -1, theirs.mean(axis=0), np.nan)
            assert [own[f"AP/{one.name}"] for one in file.classes] == pytest.approx(
                expected.tolist(), abs=1e-6, nan_ok=True
            )
            assert own[f"AP/{file.classes[missed].name}"] == 0


def test_a_crowd_takes_any_number_of_detections() -> None:
    """Two detections inside a crowd count neither as right nor as wrong; outside of it they are wrong."""
    inside = found((0, OTHER, 0.9), (0, OTHER, 0.8), (0, BOX, 0.5))
    assert scored([label((0, BOX), (0, OTHER), ignored=[1])], [inside], "coco").scores["AP"] == pytest.approx(100)
    assert scored([label((0, BOX), (0, FAR), ignored=[1])], [inside], "coco").scores["AP"] == pytest.approx(100 / 3)


def test_images_with_crowds_only_and_empty_ones_count_as_images() -> None:
    labels = [label((0, BOX), ignored=[0]), label(), label((0, BOX))]
    scoring = scored(labels, [found((0, BOX, 0.9)), found(), found((0, BOX, 0.8))], "coco")
    assert scoring.scores["AP"] == pytest.approx(100)
    assert scoring.counted()["images"] == 3
    assert scoring.counted()["crowds left out"] == 1
    assert np.isnan(scored([labels[0]], [found((0, BOX, 0.9))], "coco").scores["AP"])


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.coco_eval.find_spec", lambda name: None)
    refusal(require_coco_eval, "faster-coco-eval", "pip install 'densesiam[detection]'")
