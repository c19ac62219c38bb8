"""The objects and detections of all scored images, gathered over processes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from src.evaluation.coco_ap import Found, encoded
from src.evaluation.voc_ap import THRESHOLDS, ClassMatches, matches

Ints = NDArray[np.int64]
OBJECT = 8  # index of the image, label, x0, y0, x1, y1, ignored, area
DETECTION = 7 + len(THRESHOLDS)  # index of the image, label, score, x0, y0, x1, y1, what it is at each threshold


class Gathered(NamedTuple):
    """What was scored, sorted by image, whatever the order in which the images came.

    Attributes:
        images: (k,) indices of the images.
        objects: their objects.
        detections: their detections.
        kinds: (m, 10) what each detection is, see `src.evaluation.voc_ap.matches`.
    """

    images: Ints
    objects: Found
    detections: Found
    kinds: NDArray[np.uint8]

    def of_classes(self, classes: int) -> list[ClassMatches]:
        """The detections of each class, by falling score, and its objects."""
        detections, objects = self.detections, self.objects
        shown_in = np.searchsorted(self.images, detections.images)
        lies_in = np.searchsorted(self.images, objects.images)
        order = np.argsort(-detections.scores, kind="stable")
        found = []
        for label in range(classes):
            own = order[detections.labels[order] == label]
            counted = lies_in[(objects.labels == label) & ~objects.ignored]
            numbers = np.bincount(counted, minlength=len(self.images))
            found.append(ClassMatches(self.kinds[own], shown_in[own], numbers))
        return found


class DetectionRows(Metric):
    """Keeps the objects and detections of every image; `compute` gives those of all processes.

    Args:
        with_masks: whether masks are kept beside boxes, as run-length codes.
    """

    full_state_update = False
    images: list[Tensor]
    objects: list[Tensor]
    detections: list[Tensor]
    object_codes: list[Tensor]
    object_lengths: list[Tensor]
    detection_codes: list[Tensor]
    detection_lengths: list[Tensor]

    def __init__(self, with_masks: bool) -> None:
        super().__init__()
        self.with_masks = with_masks
        for name in _empty():
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        super().reset()
        for name, rows in _empty().items():  # never an empty list: a process without images takes part in the gathering
            getattr(self, name).append(rows.to(self.device))

    def update(
        self, detections: Sequence[Mapping[str, Tensor]], labels: Sequence[Mapping[str, Tensor]], index: Tensor
    ) -> None:
        """Add images: their detections, labels and (B,) indices in the data set."""
        for found, label, number in zip(detections, labels, index.tolist(), strict=True):
            self._add(number, _on_cpu(found), _on_cpu(label))

    def _add(self, number: int, found: Mapping[str, Tensor], label: Mapping[str, Tensor]) -> None:
        kinds = matches(
            found["boxes"].double().numpy(),
            found["scores"].double().numpy(),
            found["labels"].long().numpy(),
            label["boxes"].double().numpy(),
            label["labels"].long().numpy(),
            label["ignored"].bool().numpy(),
        )
        size = label["masks"].shape[1:] if self.with_masks else (0, 0)
        rows = {
            "images": torch.tensor([[number, *size]]),
            "objects": _table(number, label["labels"], label["boxes"], label["ignored"], label["area"]),
            "detections": _table(number, found["labels"], found["scores"], found["boxes"], torch.from_numpy(kinds)),
        }
        if self.with_masks:
            for name, masks in (("object", label["masks"]), ("detection", found["masks"])):
                codes = encoded(masks.to(torch.uint8).numpy())
                rows[f"{name}_codes"] = torch.from_numpy(np.frombuffer(b"".join(codes), np.uint8).copy())
                rows[f"{name}_lengths"] = torch.tensor([len(code) for code in codes], dtype=torch.int64)
        for name, one in rows.items():
            getattr(self, name).append(one.to(self.device))

    def compute(self) -> Gathered:
        rows = {name: dim_zero_cat(getattr(self, name)).cpu().numpy() for name in _empty()}
        sizes = {number: [height, width] for number, height, width in rows["images"].tolist()}
        objects, detections = (rows[name].astype(np.float64) for name in ("objects", "detections"))
        first, second = (np.argsort(table[:, 0], kind="stable") for table in (objects, detections))
        masks = [
            _masks(rows[f"{name}_codes"], rows[f"{name}_lengths"], table[:, 0], sizes, order)
            if self.with_masks
            else None
            for name, table, order in (("object", objects, first), ("detection", detections, second))
        ]
        objects, detections = objects[first], detections[second]
        boxes = detections[:, 3:7]
        return Gathered(
            images=np.sort(rows["images"][:, 0]),
            objects=Found(
                images=objects[:, 0].astype(np.int64),
                labels=objects[:, 1].astype(np.int64),
                boxes=objects[:, 2:6],
                scores=np.ones(len(objects)),
                ignored=objects[:, 6] > 0,
                area=objects[:, 7],
                masks=masks[0],
            ),
            detections=Found(
                images=detections[:, 0].astype(np.int64),
                labels=detections[:, 1].astype(np.int64),
                boxes=boxes,
                scores=detections[:, 2],
                ignored=np.zeros(len(detections), np.bool_),
                area=np.prod(boxes[:, 2:] - boxes[:, :2], axis=1),
                masks=masks[1],
            ),
            kinds=detections[:, 7:].astype(np.uint8),
        )


def _empty() -> dict[str, Tensor]:
    """The states, without a row."""
    codes = torch.zeros(0, dtype=torch.uint8)
    lengths = torch.zeros(0, dtype=torch.int64)
    return {
        "images": torch.zeros(0, 3, dtype=torch.int64),  # index, height, width
        "objects": torch.zeros(0, OBJECT),
        "detections": torch.zeros(0, DETECTION),
        "object_codes": codes,
        "object_lengths": lengths,
        "detection_codes": codes,
        "detection_lengths": lengths,
    }


def _on_cpu(one: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu() for name, value in one.items()}


def _table(number: int, *columns: Tensor) -> Tensor:
    """Columns (n,) or (n, k) side by side as float32, after one that holds a number."""
    parts = [(column if column.ndim == 2 else column[:, None]).float() for column in columns]
    return torch.cat([torch.full((len(columns[0]), 1), float(number)), *parts], dim=1)


def _masks(
    codes: NDArray[np.uint8],
    lengths: Ints,
    images: NDArray[np.float64],
    sizes: Mapping[int, list[int]],
    order: NDArray[np.intp],
) -> list[dict[str, Any]]:
    """The run-length codes of masks in another order."""
    ends = np.cumsum(lengths)
    return [
        {"size": sizes[int(images[place])], "counts": codes[ends[place] - lengths[place] : ends[place]].tobytes()}
        for place in order
    ]
