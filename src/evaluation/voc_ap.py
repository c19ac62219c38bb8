"""PASCAL VOC's average precision, as detectron2's `pascal_voc_evaluation.py` computes it.

Boxes are x0 y0 x1 y1 from the left and top edges of the image. VOC counts pixels from 1 and holds both ends, so its IoU
adds 1 to each width and height; in our coordinates, (xmin - 1, ymin - 1, xmax, ymax), this is the plain IoU.

Two things differ from detectron2: it rounds scores to 3 decimals and boxes to 1 before it computes the scores, and it
counts a class without objects as 0 (as nan for `voc2012`); here nothing is rounded, and such a class is left out of the
mean. All classes of VOC's own lists have objects.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

THRESHOLDS = np.arange(50, 100, 5) / 100  # of the IoU
RECALLS = np.arange(0.0, 1.1, 0.1)  # detectron2's: their last bits decide whether a recall of exactly 0.3 reaches 0.3
FALSE, TRUE, IGNORED = 0, 1, 2  # what a detection is
Curve = Literal["voc2007", "voc2012"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def box_iou(boxes: Floats, others: Floats) -> Floats:
    """(n, m) intersection over union of boxes (n, 4) and (m, 4); 0 for two boxes without an area."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    union = _area(boxes)[:, None] + _area(others)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _area(boxes: Floats) -> Floats:
    return np.asarray(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), np.float64)


def matches(
    boxes: Floats, scores: Floats, labels: Ints, objects: Floats, classes: Ints, ignored: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """What each detection of one image is at each of the `THRESHOLDS`; other images have no influence on it.

    A detection belongs to the object of its class with the highest IoU, if the IoU is above the threshold. The best
    detection of an object is true, further ones are false; those of an ignored object are ignored.

    Args:
        boxes, scores, labels: (m, 4), (m,) and (m,), the detections.
        objects, classes, ignored: (n, 4), (n,) and (n,), the objects.

    Returns:
        (m, 10) of `FALSE`, `TRUE` and `IGNORED`.
    """
    kinds = np.full((len(boxes), len(THRESHOLDS)), FALSE, np.uint8)
    for label in np.intersect1d(labels, classes):
        own = np.flatnonzero(classes == label)
        found = np.flatnonzero(labels == label)
        found = found[np.argsort(-scores[found], kind="stable")]
        iou = box_iou(boxes[found], objects[own])
        best, reached = iou.argmax(axis=1), iou.max(axis=1)[:, None] > THRESHOLDS
        taken = np.zeros((len(own), len(THRESHOLDS)), np.bool_)
        for place, nearest, above in zip(found, best, reached, strict=True):
            if ignored[own[nearest]]:
                kinds[place, above] = IGNORED
            else:
                kinds[place, above & ~taken[nearest]] = TRUE
                taken[nearest] |= above
    return kinds


class ClassMatches(NamedTuple):
    """The detections and objects of one class in all images.

    Attributes:
        kinds: (m, 10), see `matches`; by falling score.
        images: (m,) the place of each detection's image, 0 to images - 1.
        objects: (images,) numbers of objects that are not ignored.
    """

    kinds: NDArray[np.uint8]
    images: Ints
    objects: Ints


def average_precisions(found: ClassMatches, weights: Floats, curve: Curve) -> Floats:
    """(draws, 10) the AP of a class at each of the `THRESHOLDS`, 0 to 1; nan where there are no objects.

    Precision has its maxima right after true detections, so only these points of the curve are computed: the false
    detections before each of them are counted by one sparse product for all draws.

    Args:
        found: the detections and objects of the class.
        weights: (images, draws) how often each image counts; all ones for the scores themselves.
        curve: `voc2007` is the mean of the highest precision beyond 11 recalls, `voc2012` the area under the curve.
    """
    positives = found.objects @ weights
    columns = [_at_threshold(kinds, found.images, positives, weights, curve) for kinds in found.kinds.T]
    return np.stack(columns, axis=1)


def _at_threshold(kinds: NDArray[np.uint8], images: Ints, positives: Floats, weights: Floats, curve: Curve) -> Floats:
    """(draws,) the AP at one threshold; `kinds` (m,), `images` (m,) by falling score, `positives` (draws,)."""
    true, false = np.flatnonzero(kinds == TRUE), np.flatnonzero(kinds == FALSE)
    with np.errstate(invalid="ignore", divide="ignore"):
        undefined = np.where(positives > 0, 0.0, np.nan)
        if not true.size:
            return undefined
        hits = np.cumsum(weights[images[true]], axis=0)
        recall = hits / positives
        misses = np.cumsum(_between(false, true, images, weights), axis=0)
        precision = hits / np.maximum(hits + misses, np.finfo(np.float64).eps)
    highest = np.maximum.accumulate(precision[::-1], axis=0)[::-1]  # at this recall or beyond
    if curve == "voc2012":
        steps = np.diff(recall, axis=0, prepend=0.0)
        return np.asarray((steps * highest).sum(axis=0) + undefined)
    beyond = np.concatenate([highest, np.zeros((1, highest.shape[1]))])
    total = undefined
    for each in RECALLS:
        first = (recall < each).sum(axis=0)  # recall never falls, so this is the first place that reaches it
        total = total + np.take_along_axis(beyond, first[None], axis=0)[0]
    return total / len(RECALLS)


def _between(false: Ints, true: Ints, images: Ints, weights: Floats) -> Floats:
    """(t, draws) weighted number of false detections between each true detection and the one before it."""
    rows = np.searchsorted(true, false)
    before = rows < len(true)
    counts = (np.ones(int(before.sum())), (rows[before], images[false[before]]))
    return np.asarray(csr_array(counts, shape=(len(true), len(weights))) @ weights)


def class_precisions(classes: Sequence[ClassMatches], weights: Floats, curve: Curve) -> Floats:
    """(C, draws, 10) the AP of each class, see `average_precisions`."""
    return np.stack([average_precisions(one, weights, curve) for one in classes])


def voc_scores(every: Floats) -> dict[str, Floats]:
    """`AP`, `AP50` and `AP75` (draws,) in percent: means over the classes that have objects in a draw.

    Args:
        every: see `class_precisions`.
    """
    known = ~np.isnan(every)
    total = known.sum(axis=0)
    means = np.divide(np.where(known, every, 0.0).sum(axis=0), total, out=np.full(total.shape, np.nan), where=total > 0)
    fifty, seventy_five = THRESHOLDS.tolist().index(0.5), THRESHOLDS.tolist().index(0.75)
    return {
        "AP": 100 * means.mean(axis=1),
        "AP50": 100 * means[:, fifty],
        "AP75": 100 * means[:, seventy_five],
    }
