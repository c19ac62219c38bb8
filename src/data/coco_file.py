"""Reading COCO's `instances_*.json`, COCO's own or another one, into arrays."""

import json
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, NamedTuple

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from src.data.detection_objects import check_coordinates
from src.data.packed import Packed
from src.errors import DenseSiamError
from src.images.file_list import FileList
from src.metrics import Category
from src.regular import read_text

EXPECTED = "expected COCO's instances: a JSON object with the lists images, annotations and categories"
LARGEST_SIDE = 65535
LARGEST_ID = 2**63 - 1
MOST_CATEGORIES = 20_000
MOST_OBJECTS = 10_000  # of an image


class COCOFile(NamedTuple):
    """The images of a file and their objects, which are sorted by image.

    Attributes:
        path: the file.
        images: the image files.
        ids: (N,) COCO's numbers of the images.
        sizes: (N, 2) width and height.
        starts: (N + 1,) the first object of each image.
        boxes: (n, 4) float32, x0 y0 x1 y1.
        labels: (n,) places of the categories.
        crowds: (n,) bool.
        area: (n,) float32 in pixels.
        segmentations: n JSON texts; None if they were not asked for.
        classes: the categories, by COCO's number.
    """

    path: Path
    images: FileList
    ids: NDArray[np.int64]
    sizes: NDArray[np.int64]
    starts: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    crowds: NDArray[np.bool_]
    area: NDArray[np.float32]
    segmentations: Packed | None
    classes: tuple[Category, ...]


def read_coco(path: Path, folder: Path, with_masks: bool) -> COCOFile:
    """Read a file of instances. Its Python objects are given up; what is kept are arrays.

    Args:
        path: the file.
        folder: the folder that the names of the images are relative to.
        with_masks: whether the segmentations are kept.

    Raises:
        DenseSiamError: the file is not of this kind, is damaged, names a file outside of `folder`, or has more
            categories, or more objects in an image, than are read.
    """
    document = _document(path)
    categories = _categories(path, document["categories"])
    names, ids, sizes = _images(path, document["images"])
    places = {number: place for place, number in enumerate(ids)}
    labels = {number: place for place, number in enumerate(categories)}
    rows, segmentations = _objects(path, document["annotations"], places, labels, with_masks)
    check_coordinates(str(path), rows[:, 4:])
    order = np.argsort(rows[:, 0], kind="stable")
    rows = rows[order]
    starts = np.searchsorted(rows[:, 0], np.arange(len(ids) + 1))
    counts = np.diff(starts)
    if counts.max() > MOST_OBJECTS:
        raise DenseSiamError(
            f"{path} has {counts.max()} objects in image {ids[int(counts.argmax())]}: expected at most {MOST_OBJECTS} "
            "in an image; remove objects or divide the image"
        )
    return COCOFile(
        path=path,
        images=FileList.from_names(folder, names),
        ids=np.array(ids, np.int64),
        sizes=np.array(sizes, np.int64),
        starts=starts,
        boxes=np.concatenate([rows[:, 4:6], rows[:, 4:6] + rows[:, 6:]], axis=1).astype(np.float32),
        labels=rows[:, 1].astype(np.int64),
        crowds=rows[:, 2] > 0,
        area=rows[:, 3].astype(np.float32),
        segmentations=Packed(segmentations[place] for place in order) if with_masks else None,
        classes=tuple(Category(name, "thing") for name in categories.values()),
    )


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise DenseSiamError(f"can't read {path} ({said}): {EXPECTED}") from error
    lists = ("images", "annotations", "categories")
    if not isinstance(document, dict) or not all(isinstance(document.get(name), list) for name in lists):
        raise DenseSiamError(f"{path} holds {shortened(document)}: {EXPECTED}")
    return document


def _entries(path: Path, kind: str, entries: Sequence[Any], **keys: type | tuple[type, ...]) -> Iterator[list[Any]]:
    """The values of some keys of each entry.

    Raises:
        DenseSiamError: an entry lacks a key, or its value has another type.
    """
    for entry in entries:
        found = [entry.get(key) for key in keys] if isinstance(entry, dict) else []
        if not found or not all(
            isinstance(value, types) and not isinstance(value, bool)
            for value, types in zip(found, keys.values(), strict=True)
        ):
            raise DenseSiamError(f"{path} has among its {kind} {shortened(entry)}: expected {', '.join(keys)} of COCO")
        yield found


def _categories(path: Path, entries: Sequence[Any]) -> dict[int, str]:
    """The names of the categories by their number, the lowest number first."""
    if len(entries) > MOST_CATEGORIES:
        raise DenseSiamError(f"{path} has {len(entries)} categories: expected at most {MOST_CATEGORIES}; remove some")
    found = dict(sorted(_entries(path, "categories", entries, id=int, name=str)))
    counts = Counter(found.values())
    strange = [name for name in counts if not name.strip() or not name.isprintable() or counts[name] > 1]
    if strange or not found or len(found) < len(entries):
        about = f"the name {strange[0]!r}" if strange else "no category or an id twice"
        raise DenseSiamError(f"{path} has {about} among its categories: expected each id and each name once, as text")
    return found


def _images(path: Path, entries: Sequence[Any]) -> tuple[list[str], list[int], list[tuple[int, int]]]:
    names, ids, sizes = [], [], []
    for number, name, width, height in _entries(path, "images", entries, id=int, file_name=str, width=int, height=int):
        inside = posixpath.normpath(name)
        if inside.startswith(("/", "../")) or inside in ("..", ".") or "\0" in name:
            raise DenseSiamError(
                f"{path} names the image {name!r}: expected a name below the folder of the images; correct it"
            )
        if abs(number) > LARGEST_ID:
            raise DenseSiamError(
                f"{path} gives {shortened(name)} the id {shortened(number)}: expected at most {LARGEST_ID}; number the "
                "images anew"
            )
        if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
            raise DenseSiamError(f"{path} says that {name} is {width} x {height}: expected 1 to {LARGEST_SIDE} pixels")
        names.append(inside)
        ids.append(number)
        sizes.append((width, height))
    if not names:
        raise DenseSiamError(f"{path} has no images: {EXPECTED}")
    if len(set(ids)) < len(ids):
        raise DenseSiamError(f"{path} has several images with one id: expected each id once; number them anew")
    if len(set(names)) < len(names):
        raise DenseSiamError(f"{path} has an image twice: expected each file_name once; remove the repeated ones")
    return names, ids, sizes


def _objects(
    path: Path, entries: Sequence[Any], images: Mapping[int, int], categories: Mapping[int, int], with_masks: bool
) -> tuple[NDArray[np.float64], list[bytes]]:
    """The annotations of known images, in the order of the file.

    Returns:
        (n, 8) place of the image, place of the category, crowd, area, x, y, width, height; and n segmentations as JSON
        texts, none if they are not asked for.
    """
    rows, segmentations, elsewhere = [], [], 0
    values = _entries(path, "annotations", entries, image_id=int, category_id=int, bbox=list)
    for entry, (image, category, box) in zip(entries, values, strict=True):
        if image not in images:
            elsewhere += 1
            continue
        if category not in categories:
            raise DenseSiamError(
                f"{path} has an object of category {category}, which is not among its categories "
                f"{shortened(list(categories))}: add the category or correct the object"
            )
        numbers = [*box, entry.get("area", 0)]
        if len(numbers) != 5 or not all(type(one) in (int, float) and abs(one) <= 1e12 for one in numbers):
            raise DenseSiamError(
                f"{path} has an object with bbox {shortened(box)} and area {shortened(numbers[-1])}: expected finite "
                "numbers, bbox as [x, y, width, height]; correct it"
            )
        crowd = entry.get("iscrowd", 0)
        if crowd not in (0, 1):
            raise DenseSiamError(f"{path} has an object with iscrowd {shortened(crowd)}: expected 0 or 1; correct it")
        if with_masks:
            if "segmentation" not in entry:
                raise DenseSiamError(
                    f"{path} has an object without segmentation: expected one for each object; data.masks=false reads "
                    "boxes only"
                )
            segmentations.append(json.dumps(entry["segmentation"], separators=(",", ":")).encode())
        rows.append((images[image], categories[category], int(crowd), entry.get("area", box[2] * box[3]), *box))
    if elsewhere:
        rank_zero_warn(f"{elsewhere} objects of {path} are in images that it does not list: they are left out")
    return np.array(rows, np.float64).reshape(-1, 8), segmentations
