"""The objects of an image: boxes, classes and masks, and what is done with those that can't be used."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn
from numpy.typing import ArrayLike
from torch import Tensor

from src.data.eval_datasets import check_length
from src.data.images import Images
from src.errors import DenseSiamError
from src.images.reading import UnreadableFileError
from src.images.resizing import to_tensor
from src.metrics import Category

Label = dict[str, Tensor]
FARTHEST = 1e6  # pixels: a coordinate beyond it is a mistake
READ = 200  # annotations that are read before a run to check them
NAMED = 10  # classes that a warning names at most


@runtime_checkable
class DetectionImages(Images, Protocol):
    """Images with objects. `str()` gives the name of the set in the printed protocol.

    Attributes:
        trains_on_ignored: whether ignored objects are trained on. VOC's difficult objects are, as detectron2 does;
            COCO's crowds are not, because one box holds many objects.
    """

    trains_on_ignored: bool

    def objects(self, index: int, size: tuple[int, int] | None = None) -> Label:
        """The objects of an image, as they are annotated.

        Args:
            index: index of the image.
            size: (width, height) of the image; None if it is not known. Then masks are checked, but not made, because
                the size in the annotation may be a mistake of any extent.

        Returns:
            `boxes` (n, 4) float32, x0 y0 x1 y1 in pixels; `labels` (n,) int64, 0 to C - 1; `ignored` (n,) bool;
            `area` (n,) float32 in pixels; and, if the data has masks and the size is known, `masks` (n, height, width)
            uint8.

        Raises:
            UnreadableFileError: the annotation can't be decoded.
            DenseSiamError: the annotation holds something else than objects of known classes, or states another size.
        """
        ...

    def stated_size(self, index: int) -> tuple[int, int] | None:
        """(width, height) of the image in its annotation; None if it is not there."""
        ...

    def label_name(self, index: int) -> str:
        """The name of the annotation in messages, such as its path."""
        ...


def label_of(boxes: ArrayLike, labels: ArrayLike, ignored: ArrayLike, area: ArrayLike) -> Label:
    """A label without masks, from lists or arrays of n objects."""
    return {
        "boxes": torch.from_numpy(np.asarray(boxes, np.float32).reshape(-1, 4).copy()),
        "labels": torch.from_numpy(np.array(labels, np.int64)),
        "ignored": torch.from_numpy(np.array(ignored, np.bool_)),
        "area": torch.from_numpy(np.array(area, np.float32)),
    }


def chosen(label: Label, keep: Tensor) -> Label:
    """The objects for which `keep` (n,) is true."""
    return {name: value[keep] for name, value in label.items()}


def clipped(boxes: Tensor, width: int, height: int) -> Tensor:
    """Boxes (n, 4) without their parts outside of the image."""
    return torch.minimum(boxes.clamp(min=0), torch.tensor([width, height, width, height], dtype=boxes.dtype))


def inside(label: Label, width: int, height: int) -> Tensor:
    """(n,) whether a part of the box with a width and a height lies in the image; no detection matches another one."""
    boxes = clipped(label["boxes"], width, height)
    return (boxes[:, 2:] - boxes[:, :2] > 1e-5).all(dim=1)


def check_size(name: str, stated: tuple[int, int] | None, size: tuple[int, int] | None) -> None:
    """Refuse an annotation that was made for an image of another size.

    Raises:
        DenseSiamError: the sizes (width, height) differ.
    """
    if stated is not None and size is not None and stated != size:
        raise DenseSiamError(
            f"{name} says that the image is {stated[0]} x {stated[1]}, it is {size[0]} x {size[1]} (after the rotation "
            "in its EXIF data): expected the same size; annotate this image, not a resized or rotated one"
        )


def check_coordinates(name: str, boxes: ArrayLike) -> None:
    """Refuse coordinates that are not numbers of pixels.

    Raises:
        DenseSiamError: one is NaN, infinite, or larger than any image.
    """
    values = np.asarray(boxes, np.float64)
    wrong = values[~(np.abs(values) <= FARTHEST)]
    if wrong.size:
        raise DenseSiamError(
            f"{name} holds the coordinate {wrong.flat[0]}: expected pixels of the image; correct or remove the object"
        )


def read_sample(images: DetectionImages, index: int) -> tuple[Tensor, Label]:
    """An image (3, H, W) uint8 and its objects, without those outside of the image or without extent.

    Raises:
        UnreadableFileError: the image or its annotation can't be decoded.
        DenseSiamError: see `DetectionImages.objects`; or the image is too long to be resized.
    """
    image = images.image(index)
    check_length(images.image_name(index), image.size, "remove it from the list")
    label = images.objects(index, image.size)
    return to_tensor(image), chosen(label, inside(label, *image.size))


@rank_zero_only
def check_objects(images: DetectionImages, classes: Sequence[Category], use: str, with_ignored: bool) -> None:
    """Check the objects of at most `READ` images, spread evenly over the set, before anything runs.

    It warns of classes that never occur if all images were read, and of boxes that are left out because they lie
    outside of the image or have no extent. Annotations that can't be decoded are skipped: the run stops at them or
    skips them, as `data.on_corrupt` says.

    Args:
        images: the images with their objects.
        classes: the classes of the objects.
        use: what the images are for, in words for messages.
        with_ignored: whether ignored objects count as objects for this use.

    Raises:
        DenseSiamError: an annotation is wrong, or there is no object that counts in any image.
    """
    spread = np.unique(np.linspace(0, len(images) - 1, min(READ, len(images))).round().astype(int)).tolist()
    counts, left_out, example, read = torch.zeros(len(classes), dtype=torch.int64), 0, "", 0
    for index in spread:
        try:
            label = images.objects(index)
            size = images.stated_size(index)
        except UnreadableFileError:
            continue
        read += 1
        good = inside(label, *(size or (int(FARTHEST), int(FARTHEST))))
        counted = good if with_ignored else good & ~label["ignored"]
        counts += torch.bincount(label["labels"][counted], minlength=len(classes))
        if not good.all():
            left_out, example = left_out + int((~good).sum()), example or images.label_name(index)
    everything = len(spread) == len(images)
    if everything and read and not counts.any():
        raise DenseSiamError(
            f"none of the {len(images)} images {use} ({images}) has an object: expected boxes, not only crowds or "
            "difficult ones; check the annotations"
        )
    among = "" if everything else f" in {len(spread)} of {len(images)} images"
    if left_out:
        rank_zero_warn(
            f"{left_out} boxes of the images {use}{among} lie outside of their image or have no extent (their right "
            f"or bottom side is not beyond the left or top one), such as one of {example}: they are left out"
        )
    absent = [category.name for category, count in zip(classes, counts.tolist(), strict=True) if not count]
    if absent and everything and read:
        others = f" and {len(absent) - NAMED} others" if len(absent) > NAMED else ""
        rank_zero_warn(
            f"{len(absent)} of {len(classes)} classes never occur in the images {use}: {', '.join(absent[:NAMED])}"
            f"{others}"
        )
