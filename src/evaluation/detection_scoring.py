"""Compares detections with objects: average precision, of all and of each class, with intervals for VOC's metric."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from src.coco_eval import require_coco_eval
from src.errors import DenseSiamError
from src.evaluation.bootstrap import Interval, draws, percentile_interval
from src.evaluation.coco_ap import CocoScores, coco_scores
from src.evaluation.detection_protocol import DetectionProtocol
from src.evaluation.detection_rows import DetectionRows, Gathered
from src.evaluation.scoring import Scored
from src.evaluation.voc_ap import Curve, Floats, class_precisions, voc_scores
from src.metrics import Category

AT_ONCE = 100  # draws of the bootstrap
NAMED = 10  # absent classes that the printed protocol names at most; the scores name all
PRIMARY = ("AP", "AP50", "AP75")


class DetectionScoring(nn.Module):
    """Counts detections against objects, and computes the scores over the images of all processes.

    The scores are `AP`, `AP50` and `AP75` of the protocol's metric, with VOC's metrics `COCO_AP`, `COCO_AP50` and
    `COCO_AP75` beside them, with masks also `mask_AP`, `mask_AP50` and `mask_AP75`, and the AP of each class,
    `AP/NAME`, all in percent; nan without objects.

    Args:
        classes: the classes of the objects.
        protocol: chooses the metric.
        with_masks: whether the network predicts masks and the labels have them.

    Attributes:
        scores: the scores of the last validation; empty before the first.
        gathered: what they were computed from; None before the first.

    Raises:
        DenseSiamError: faster-coco-eval is not installed.
    """

    def __init__(self, classes: Sequence[Category], protocol: DetectionProtocol, with_masks: bool) -> None:
        super().__init__()
        require_coco_eval()
        self.classes, self.protocol, self.with_masks = tuple(classes), protocol, with_masks
        self.rows = DetectionRows(with_masks)
        self.scores: dict[str, float] = {}
        self.gathered: Gathered | None = None

    def reset(self) -> None:
        """Reset the counts; the last scores stay."""
        self.rows.reset()

    def update(
        self, detections: Sequence[Mapping[str, Tensor]], labels: Sequence[Mapping[str, Tensor]], index: Tensor
    ) -> None:
        """Count the detections of some images.

        Args:
            detections: for each image `boxes` (m, 4), `scores` (m,), `labels` (m,) and, with masks, `masks` (m, H, W),
                in pixels of the original image.
            labels: for each image a label of `src.data.detection_objects.DetectionImages.objects`; one with the key
                `skipped`, of an image that could not be read, is not counted.
            index: (B,) indices of the images in the data set.
        """
        counted = [place for place, label in enumerate(labels) if "skipped" not in label]
        self.rows.update([detections[place] for place in counted], [labels[place] for place in counted], index[counted])

    def compute(self) -> dict[str, float]:
        """Compute the scores; returns them without those of each class. All processes have to call it together.

        Raises:
            DenseSiamError: no image was counted.
        """
        gathered = self.rows.compute()
        if not len(gathered.images):
            raise DenseSiamError(
                "no image was scored: expected readable images; those that were skipped are named in unreadable.txt in "
                "the run's folder"
            )
        self.gathered = gathered
        boxes = self._coco("bbox")
        coco = dict(zip(PRIMARY, boxes[:3], strict=True))
        if self.curve is None:
            summary, by_class = coco, boxes.by_class
        else:
            found, once = gathered.of_classes(len(self.classes)), np.ones((len(gathered.images), 1))
            precisions = class_precisions(found, once, self.curve)
            summary = {name: float(value[0]) for name, value in voc_scores(precisions).items()}
            summary |= {f"COCO_{name}": value for name, value in coco.items()}
            by_class = 100 * precisions.mean(axis=(1, 2))
        if self.with_masks:
            summary |= {f"mask_{name}": value for name, value in zip(PRIMARY, self._coco("segm")[:3], strict=True)}
        named = {f"AP/{one.name}": float(value) for one, value in zip(self.classes, by_class, strict=True)}
        self.scores = summary | named
        return summary

    @property
    def curve(self) -> Curve | None:
        """VOC's metric; None for COCO's."""
        return None if self.protocol.metric == "coco" else self.protocol.metric

    def last(self) -> Gathered:
        """What the last scores were computed from.

        Raises:
            RuntimeError: there has been no validation yet.
        """
        if self.gathered is None:
            raise RuntimeError("nothing has been validated")
        return self.gathered

    def counted(self) -> dict[str, Any]:
        """Numbers of scored images and objects, and the `absent classes`, if any, for the printed protocol."""
        objects = self.last().objects
        known = np.bincount(objects.labels[~objects.ignored], minlength=len(self.classes))
        absent = [one.name for one, count in zip(self.classes, known.tolist(), strict=True) if not count]
        kind = "crowds" if self.curve is None else "difficult objects"
        return {
            "images": len(self.last().images),
            "objects": int(known.sum()),
            **({f"{kind} left out": int(objects.ignored.sum())} if objects.ignored.any() else {}),
            **({"absent classes": shortened(absent)} if absent else {}),
        }

    def scored(self, resamples: int) -> Scored:
        """The last scores; for VOC's metrics with 95 % intervals of AP, AP50 and AP75, see `src.evaluation.bootstrap`.

        Args:
            resamples: number of draws; 0 for no intervals.

        Raises:
            RuntimeError: there has been no validation yet.
        """
        drawn = self._drawn(resamples)
        intervals = {name: percentile_interval(self.scores[name], values) for name, values in drawn.items()}
        return Scored(dict(self.scores), intervals)

    def difference(self, other: "DetectionScoring", resamples: int) -> dict[str, Interval]:
        """The scores minus those of another network on the same images; each draw takes the same images for both.

        The ends of an interval are nan for COCO's metrics and without draws.

        Raises:
            DenseSiamError: the two were scored on different images or objects, or by different metrics.
        """
        one, two = self.last(), other.last()
        same = np.array_equal(one.images, two.images) and self.protocol.metric == other.protocol.metric
        same = same and self.classes == other.classes and np.array_equal(one.objects.boxes, two.objects.boxes)
        if not same or not np.array_equal(one.objects.labels, two.objects.labels):
            raise DenseSiamError(
                f"the two were scored on {len(one.images)} and {len(two.images)} images, on other objects or by other "
                "metrics: expected the same images under the same protocol"
            )
        drawn, others = self._drawn(resamples), other._drawn(resamples)
        shared = [name for name in self.scores if name in other.scores]
        return {
            name: percentile_interval(
                self.scores[name] - other.scores[name], drawn[name] - others[name] if name in drawn else []
            )
            for name in shared
        }

    def _drawn(self, resamples: int) -> dict[str, Floats]:
        """VOC's AP, AP50 and AP75 (resamples,) of each draw, the same draws at each call; empty for COCO's metric."""
        if self.curve is None or not resamples:
            return {}
        found = self.last().of_classes(len(self.classes))
        parts = [
            voc_scores(class_precisions(found, weights, self.curve))
            for weights in stacked(len(self.last().images), resamples)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in PRIMARY}

    def _coco(self, kind: Any) -> CocoScores:
        gathered = self.last()
        return coco_scores(gathered.images, gathered.objects, gathered.detections, len(self.classes), kind)


def stacked(images: int, resamples: int) -> Iterator[Floats]:
    """The draws of the bootstrap as the columns of (images, draws), at most `AT_ONCE` of them at a time."""
    columns: list[Any] = []
    for weights in draws(images, resamples, seed=0):
        columns.append(weights)
        if len(columns) == AT_ONCE:
            yield np.stack(columns, axis=1).astype(np.float64)
            columns = []
    if columns:
        yield np.stack(columns, axis=1).astype(np.float64)


def shortened(names: Sequence[str]) -> str:
    """The first `NAMED` names, and how many others there are."""
    others = f" and {len(names) - NAMED} others" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + others
