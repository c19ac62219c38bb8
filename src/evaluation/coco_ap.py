"""COCO's average precision (101 points), through faster-coco-eval, which computes what pycocotools computes."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.coco_eval import require_coco_eval

MOST_DETECTIONS = 100  # of an image that count, those with the highest scores
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Found(NamedTuple):
    """Objects or detections of all images, sorted by image.

    Attributes:
        images: (n,) index of the image of each.
        labels: (n,) 0 to C - 1.
        boxes: (n, 4) x0 y0 x1 y1 in pixels.
        scores: (n,) of detections; 1 for objects.
        ignored: (n,) bool, of objects: a crowd, whose detections count neither as right nor as wrong. False for
            detections.
        area: (n,) in pixels.
        masks: n run-length codes of COCO, {"size": [height, width], "counts": bytes}; None without masks.
    """

    images: Ints
    labels: Ints
    boxes: Floats
    scores: Floats
    ignored: NDArray[np.bool_]
    area: Floats
    masks: Sequence[dict[str, Any]] | None


class CocoScores(NamedTuple):
    """Scores in percent, nan where there are no objects.

    Attributes:
        ap, ap50, ap75: means over the classes that have objects.
        by_class: (C,) the AP of each class.
    """

    ap: float
    ap50: float
    ap75: float
    by_class: Floats


def coco_scores(
    images: Ints, objects: Found, detections: Found, classes: int, kind: Literal["bbox", "segm"]
) -> CocoScores:
    """COCO's AP of boxes or masks.

    Args:
        images: indices of all scored images, those without objects too.
        objects: the objects in these images.
        detections: the detections in these images.
        classes: number of classes C.
        kind: `bbox` compares boxes, `segm` masks.

    Raises:
        DenseSiamError: see `require_coco_eval`.
    """
    require_coco_eval()
    from faster_coco_eval import COCO, COCOeval_faster

    def dataset(found: Found) -> Any:
        return COCO(
            {
                "images": _images(images, found),
                "categories": [{"id": label, "name": str(label)} for label in range(classes)],
                "annotations": annotations(found, with_masks=kind == "segm"),
            }
        )

    evaluation = COCOeval_faster(dataset(objects), dataset(detections), kind, print_function=lambda _: None)
    evaluation.params.maxDets = [MOST_DETECTIONS]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, 0]  # (IoU, recall, C), -1 without objects
    by_class = np.where((precision > -1).any(axis=(0, 1)), precision.mean(axis=(0, 1)), np.nan)
    return CocoScores(100 * _mean(precision), 100 * _mean(precision[0]), 100 * _mean(precision[5]), 100 * by_class)


def _images(images: Ints, found: Found) -> list[dict[str, int]]:
    """COCO's images; their sizes are read only where they have masks."""
    sizes = {index: mask["size"] for index, mask in zip(found.images.tolist(), found.masks or (), strict=False)}
    return [
        {"id": index, "height": height, "width": width}
        for index in images.tolist()
        for height, width in [sizes.get(index, (0, 0))]
    ]


def _mean(precision: Floats) -> float:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else float("nan")


def annotations(found: Found, with_masks: bool) -> list[dict[str, Any]]:
    """Objects or detections as COCO's annotations."""
    sizes = found.boxes[:, 2:] - found.boxes[:, :2]
    rows = zip(
        found.images.tolist(),
        found.labels.tolist(),
        np.concatenate([found.boxes[:, :2], sizes], axis=1).tolist(),
        found.scores.tolist(),
        found.ignored.tolist(),
        found.area.tolist(),
        strict=True,
    )
    made = [
        {
            "id": number,
            "image_id": image,
            "category_id": label,
            "bbox": box,
            "score": score,
            "iscrowd": int(ignored),
            "area": area,
        }
        for number, (image, label, box, score, ignored, area) in enumerate(rows, start=1)
    ]
    if with_masks and found.masks is not None:
        for each, mask in zip(made, found.masks, strict=True):
            each["segmentation"] = mask
    return made


def encoded(masks: NDArray[np.uint8]) -> list[bytes]:
    """COCO's compressed run-length codes of masks (n, height, width)."""
    from faster_coco_eval.core.mask import encode

    if not len(masks):
        return []
    return [
        code if isinstance(code, bytes) else code.encode()
        for code in (one["counts"] for one in encode(np.asfortranarray(masks.transpose(1, 2, 0))))
    ]
