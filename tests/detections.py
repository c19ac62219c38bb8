"""Objects and detections of images that no network has made, for tests of scores."""

from collections.abc import Sequence

import torch
from omegaconf import OmegaConf
from torch import Tensor

from src.evaluation.detection_protocol import DetectionProtocol, Metric
from src.evaluation.detection_scoring import DetectionScoring
from src.metrics import Category
from tests.composing import CONF

Part = dict[str, Tensor]
CLASSES = tuple(Category(name, "thing") for name in ("cat", "dog", "cow"))


def voc_classes() -> list[str]:
    """The names of VOC's classes, as the config has them."""
    return list(OmegaConf.load(CONF / "data" / "voc_detection.yaml").classes)


def protocol(metric: Metric = "voc2007", resamples: int = 0) -> DetectionProtocol:
    return DetectionProtocol("test", metric, side=96, longest=160, resamples=resamples)


def label(*objects: tuple[int, Sequence[float]], ignored: Sequence[int] = ()) -> Part:
    """Objects (class, box); those whose place is in `ignored` are difficult or crowds."""
    boxes = torch.tensor([box for _, box in objects], dtype=torch.float32).reshape(-1, 4)
    return {
        "boxes": boxes,
        "labels": torch.tensor([each for each, _ in objects], dtype=torch.int64),
        "ignored": torch.tensor([place in ignored for place in range(len(objects))], dtype=torch.bool),
        "area": (boxes[:, 2:] - boxes[:, :2]).prod(dim=1),
    }


def found(*detections: tuple[int, Sequence[float], float]) -> Part:
    """Detections (class, box, score)."""
    return {
        "boxes": torch.tensor([box for _, box, _ in detections], dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor([each for each, _, _ in detections], dtype=torch.int64),
        "scores": torch.tensor([score for _, _, score in detections], dtype=torch.float32),
    }


def near(objects: Part, classes: int, generator: torch.Generator, masks: bool = False) -> Part:
    """Detections of an image's objects: moved ones, some twice, some missed, some of a wrong class, some of nothing."""
    boxes, labels = objects["boxes"], objects["labels"]
    count = len(boxes)
    size = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    moved = [boxes + size * spread * torch.randn(count, 4, generator=generator) for spread in (0.03, 0.1, 0.2)]
    corner = 100 * torch.rand(4, 2, generator=generator)
    nothing = torch.cat([corner, corner + 10 + 50 * torch.rand(4, 2, generator=generator)], dim=1)
    every = torch.cat([*moved, nothing])
    every = torch.cat([torch.minimum(every[:, :2], every[:, 2:]), torch.maximum(every[:, :2], every[:, 2:])], dim=1)
    guesses = torch.randint(classes, (len(every),), generator=generator)
    own = torch.cat([labels, labels, labels, guesses[3 * count :]])
    own = torch.where(torch.rand(len(every), generator=generator) < 0.9, own, guesses)
    kept = torch.rand(len(every), generator=generator) < 0.8
    made = {"boxes": every, "labels": own, "scores": torch.rand(len(every), generator=generator)}
    if masks:
        shape = objects["masks"].shape[1:]
        shifted = [objects["masks"].roll(shift, dims=(1, 2)) for shift in ((0, 1), (5, 3), (10, 20))]
        made["masks"] = torch.cat([*shifted, torch.zeros(4, *shape, dtype=torch.uint8)]).bool()
    return {name: value[kept] for name, value in made.items()}


def scored(
    labels: Sequence[Part],
    detections: Sequence[Part],
    metric: Metric = "voc2007",
    classes: Sequence[Category] = CLASSES,
    with_masks: bool = False,
    order: Sequence[int] | None = None,
) -> DetectionScoring:
    """The scoring of some images, one by one in an order."""
    scoring = DetectionScoring(classes, protocol(metric), with_masks)
    for number in range(len(labels)) if order is None else order:
        scoring.update([detections[number]], [labels[number]], torch.tensor([number]))
    scoring.compute()
    return scoring
