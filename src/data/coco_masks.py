"""COCO's segmentations as masks: polygons and run-length codes, which may come from a stranger."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.errors import DenseSiamError

Mask = NDArray[np.uint8]
REACH = 2  # a polygon may leave the image by so many times its longer side
WINDING = 100  # the outlines of an object may be so many times as long as the outline of the image
MOST_POLYGONS = 10_000  # of an object


def mask_of(name: str, segmentation: Any, width: int, height: int) -> Mask:
    """The mask (height, width) of an object, 0 or 1.

    Args:
        name: what is read, for messages.
        segmentation: a list of polygons [x, y, x, y, ...], or {"size": [height, width], "counts": run lengths as a list
            or as COCO's text}. Polygons of fewer than three points have no area and are left out.
        width, height: size of the image.

    Raises:
        DenseSiamError: it is neither, or does not fit the image.
    """
    if isinstance(segmentation, dict):
        return _from_runs(_runs(name, segmentation, width, height), width, height)
    if isinstance(segmentation, list):
        return _from_polygons(_polygons(name, segmentation, width, height), width, height)
    raise _wrong(name, f"{type(segmentation).__name__} as segmentation")


def check_segmentation(name: str, segmentation: Any, width: int, height: int) -> None:
    """Refuse what `mask_of` refuses, without memory for the mask; for the arguments and errors see there."""
    if isinstance(segmentation, dict):
        _runs(name, segmentation, width, height)
    elif isinstance(segmentation, list):
        _polygons(name, segmentation, width, height)
    else:
        raise _wrong(name, f"{type(segmentation).__name__} as segmentation")


def _polygons(name: str, polygons: Sequence[Any], width: int, height: int) -> list[list[float]]:
    """The polygons of at least three points. Their outlines are limited, because making a mask walks along them."""
    if len(polygons) > MOST_POLYGONS:
        raise _wrong(name, f"an object of {len(polygons)} polygons, of which at most {MOST_POLYGONS} are read")
    usable: list[list[float]] = []
    outline = 0.0
    for polygon in polygons:
        try:
            points = np.asarray(polygon, np.float64)
        except (TypeError, ValueError):
            points = np.full(1, np.nan)
        if points.ndim != 1 or not (np.abs(points) <= REACH * max(width, height)).all():
            raise _wrong(name, "a polygon whose coordinates are not numbers near the image")
        if len(points) % 2:
            raise _wrong(name, f"a polygon of {len(points)} numbers, which are no pairs of x and y")
        if len(points) >= 6:
            usable.append(points.tolist())
            corners = points.reshape(-1, 2)
            outline += float(np.abs(corners - np.roll(corners, 1, axis=0)).sum())
    if outline > WINDING * 2 * (width + height):
        raise _wrong(name, f"polygons of {outline:.0f} pixels' outline, over {WINDING} times that of the image")
    return usable


def _from_polygons(polygons: list[list[float]], width: int, height: int) -> Mask:
    from faster_coco_eval.core.mask import decode, frPyObjects, merge

    if not polygons:
        return np.zeros((height, width), np.uint8)
    return np.ascontiguousarray(decode(merge(frPyObjects(polygons, height, width))), np.uint8)


def _runs(name: str, code: dict[str, Any], width: int, height: int) -> list[int]:
    """The run lengths of a code. They are added up before anything is made of them."""
    if code.get("size") != [height, width]:
        raise _wrong(name, f"a mask of size {str(code.get('size'))[:40]} for an image of {[height, width]}")
    counts = code.get("counts")
    runs = _decoded(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        raise _wrong(name, "run lengths that are not whole numbers from 0")
    if sum(runs) != width * height:
        raise _wrong(name, f"run lengths of {sum(runs)} pixels for an image of {width * height}")
    return runs


def _from_runs(runs: list[int], width: int, height: int) -> Mask:
    """The mask of run lengths, column by column, 0 first."""
    values = np.arange(len(runs), dtype=np.int64) % 2
    return np.ascontiguousarray(np.repeat(values.astype(np.uint8), runs).reshape(width, height).T)


def _decoded(text: str) -> list[int] | None:
    """COCO's compressed run lengths: 5 bits a letter, differences to the run before the last; None if damaged."""
    runs: list[int] = []
    value, shift = 0, 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 30:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    return None if shift else runs


def _wrong(name: str, found: str) -> DenseSiamError:
    return DenseSiamError(
        f"{name} has {found}: expected COCO's polygons or run lengths of the image's size; correct or remove the object"
    )
