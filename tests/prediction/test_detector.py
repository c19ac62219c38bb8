"""A detector on images: what it returns, what is written of it, and that it comes back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from src.metrics import Category
from src.prediction.detection_files import DetectionJob
from src.prediction.detection_results import DetectionResults, run_lengths
from src.prediction.detector import Detector
from src.prediction.files import Work, predict_files
from tests.factories import noise_image
from tests.refusals import refusal

CLASSES = (Category("ball", "thing"), Category("box, large", "thing"))


class Fixed(nn.Module):
    """Finds three objects in every image: two balls and a box, with masks of their boxes' left halves."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        found = []
        for image in images:
            height, width = image.shape[1:]
            boxes = torch.tensor([[0.0, 0, width / 2, height], [1, 2, 30, 20], [5, 5, 20, 25]])
            masks = torch.zeros(3, height, width, dtype=torch.bool)
            for mask, (x0, y0, x1, y1) in zip(masks, boxes.long().tolist(), strict=True):
                mask[y0:y1, x0 : (x0 + x1) // 2] = True
            scores = torch.tensor([0.9, 0.6, 0.2])
            found.append({"boxes": boxes, "scores": scores, "labels": torch.tensor([0, 1, 0]), "masks": masks})
        return found


@pytest.fixture
def detector() -> Detector:
    network: Any = Fixed()
    return Detector(network, CLASSES)


def test_objects_are_those_with_the_score(detector: Detector) -> None:
    found = detector.predict(noise_image(48, 40, 1))
    assert found.scores.tolist() == pytest.approx([0.9, 0.6])
    assert [detector.names[label] for label in found.labels] == ["ball", "box, large"]
    assert found.boxes.tolist() == [[0, 0, 24, 40], [1, 2, 30, 20]]
    assert found.masks.shape == (2, 40, 48)
    both = detector.predict([noise_image(48, 40, 1), np.zeros((50, 60), np.uint8)], min_score=0.0)
    assert [len(one.scores) for one in both] == [3, 3]
    assert both[1].boxes[0].tolist() == [0, 0, 30, 50]
    refusal(lambda: detector.predict(noise_image(48, 40, 1), min_score=2.0), "min_score")


def decoded(encoded: dict[str, list[int]]) -> Any:
    """COCO's definition: runs of zeros and ones in turn, zeros first, column by column."""
    counts = encoded["counts"]
    return np.repeat(np.arange(len(counts)) % 2, counts).reshape(encoded["size"], order="F")


@pytest.mark.parametrize("kind", ["noise", "first pixel", "empty", "full"])
def test_run_lengths_are_those_of_coco(kind: str) -> None:
    mask = np.random.default_rng(0).random((7, 5)) > 0.5
    mask[0, 0] = kind != "noise"
    if kind in ("empty", "full"):
        mask[:] = kind == "full"
    encoded = run_lengths(mask)
    assert np.array_equal(decoded(encoded), mask)
    assert sum(encoded["counts"]) == mask.size


def test_files_of_a_folder(detector: Detector, tmp_path: Path) -> None:
    """Objects as JSON, overlays of the image's size, and a summary that counts them; broken files are named."""
    noise_image(48, 40, 1).save(tmp_path / "a.png")
    noise_image(60, 50, 2).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"no image")
    results = DetectionResults(tmp_path / "out", detector, with_overlays=True)
    results.begin({}, overwrite=False)
    paths = {place: tmp_path / f"{name}.png" for place, name in enumerate("abc")}
    done = predict_files(Work(DetectionJob(detector, 0.5, results), paths, ["a", "b", "c"]), 2, 1, lambda _: None)
    assert list(done.failed) == [2]
    results.finish({f"{name}.png": done.rows[place] for place, name in enumerate("ab")}, {"c.png": done.failed[2]})

    written = json.loads((tmp_path / "out" / "detections" / "b.json").read_text())
    assert (written["width"], written["height"]) == (60, 50)
    assert [(one["class"], one["score"]) for one in written["objects"]] == [("ball", 0.9), ("box, large", 0.6)]
    assert written["objects"][0]["box"] == [0, 0, 30, 50]
    mask = written["objects"][0]["mask"]
    assert np.array_equal(decoded(mask), detector.predict(tmp_path / "b.png").masks[0])
    with Image.open(tmp_path / "out" / "overlays" / "a.png") as overlay, Image.open(tmp_path / "a.png") as photo:
        assert overlay.size == photo.size
        assert not np.array_equal(overlay, photo)
    summary = (tmp_path / "out" / "summary.csv").read_text().splitlines()
    assert summary == ['file,width,height,ball,"box, large"', "a.png,48,40,1,1", "b.png,60,50,1,1"]

    before = results.written_before("a")
    assert before is not None
    assert (before.width, before.height, before.counts.tolist()) == (48, 40, [1, 1])
    for damaged in ("no JSON", "[1]", '{"width": 3, "height": 3, "objects": [{"class": "car"}]}'):
        (tmp_path / "out" / "detections" / "a.json").write_text(damaged)
        assert results.written_before("a") is None
