"""COCO's boxes and masks, and those of another data set in COCO's layout."""

import json
import os
from typing import Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from src.checks import check_flag, check_text
from src.coco_eval import require_coco_eval
from src.data.checks import existing_root
from src.data.coco_file import COCOFile, read_coco
from src.data.coco_masks import check_segmentation, mask_of
from src.data.detection import DetectionData, DetectionLoading
from src.data.detection_objects import Label, check_size, label_of
from src.errors import DenseSiamError
from src.images.reading import open_image

MOST_MASK_PIXELS = 2**32  # of the masks of an image together: a byte each, 4 GiB
LAYOUT = "folders of images and annotations/instances_*.json"


class COCOImages:
    """Some images of a file of instances, with boxes and masks. Objects are read from arrays, see `COCOFile`.

    Args:
        file: the file.
        chosen: places of the images in the file.
    """

    trains_on_ignored = False

    def __init__(self, file: COCOFile, chosen: NDArray[np.int64]) -> None:
        self.file, self.chosen = file, chosen

    def __len__(self) -> int:
        return len(self.chosen)

    def __str__(self) -> str:
        return f"{self.file.path.name} of {self.file.path.parent}"

    def image(self, index: int) -> Image.Image:
        return open_image(self.file.images[self.chosen[index]])

    def image_name(self, index: int) -> str:
        return str(self.file.images[self.chosen[index]])

    def label_name(self, index: int) -> str:
        return f"image {self.file.ids[self.chosen[index]]} of {self.file.path}"

    def stated_size(self, index: int) -> tuple[int, int]:
        width, height = self.file.sizes[self.chosen[index]].tolist()
        return width, height

    def objects(self, index: int, size: tuple[int, int] | None = None) -> Label:
        file, place, name, stated = self.file, self.chosen[index], self.label_name(index), self.stated_size(index)
        check_size(name, stated, size)
        part = slice(int(file.starts[place]), int(file.starts[place + 1]))
        label = label_of(file.boxes[part], file.labels[part], file.crowds[part], file.area[part])
        if file.segmentations is None:
            return label
        texts = [file.segmentations[number] for number in range(part.start, part.stop)]
        if size is None:
            for text in texts:
                check_segmentation(name, json.loads(text), *stated)
            return label
        if len(texts) * size[0] * size[1] > MOST_MASK_PIXELS:
            raise DenseSiamError(
                f"{name} is {size[0]} x {size[1]} and has {len(texts)} objects: expected masks of at most "
                f"{MOST_MASK_PIXELS} pixels together; make the image smaller, or set data.masks=false"
            )
        masks = np.empty((len(texts), size[1], size[0]), np.uint8)
        for mask, text in zip(masks, texts, strict=True):
            mask[:] = mask_of(name, json.loads(text), *size)
        return {**label, "masks": torch.from_numpy(masks)}


def all_images(file: COCOFile) -> COCOImages:
    """All images of a file, those without objects too, for scoring."""
    return COCOImages(file, np.arange(len(file.ids)))


def with_objects(file: COCOFile) -> COCOImages:
    """The images that have an object which is not a crowd, as detectron2 trains on.

    Raises:
        DenseSiamError: there are none.
    """
    counts = np.concatenate([[0], np.cumsum(~file.crowds)])[file.starts]
    chosen = np.flatnonzero(np.diff(counts))
    if not chosen.size:
        raise DenseSiamError(
            f"no image of {file.path} has an object that is not a crowd: expected objects to train on; check it"
        )
    return COCOImages(file, chosen)


class COCODetection(DetectionData):
    """`data=coco_detection`: COCO's boxes and masks, or one's own in the same layout.

    Args:
        root: folder that the other paths are relative to.
        train_images, val_images: folders of the images to train on and to score.
        train_annotations, val_annotations: their files of instances. The categories of the second are the classes.
        masks: whether masks are read beside boxes.
        loading: see `ImageData`.

    Raises:
        DenseSiamError: a file or a folder is missing or is not as expected, or the two files have other categories.
    """

    def __init__(
        self,
        root: str,
        train_images: str,
        train_annotations: str,
        val_images: str,
        val_annotations: str,
        masks: bool,
        **loading: Unpack[DetectionLoading],
    ) -> None:
        folder = existing_root(root, LAYOUT)
        check_flag("data.masks", masks)
        if masks:
            require_coco_eval()

        def read(images: tuple[str, str], annotations: tuple[str, str]) -> COCOFile:
            for name, value in (images, annotations):
                check_text(name, value)
            file = read_coco(folder / annotations[1], folder / images[1], masks)
            check_files(file, images[0])
            return file

        val = read(("data.val_images", val_images), ("data.val_annotations", val_annotations))

        def train() -> COCOImages:
            file = read(("data.train_images", train_images), ("data.train_annotations", train_annotations))
            if file.classes != val.classes:
                raise DenseSiamError(
                    f"{file.path} has {len(file.classes)} categories and {val.path} {len(val.classes)}, or others: "
                    "expected the same names in the order of their ids"
                )
            return with_objects(file)

        super().__init__(train=train, val=all_images(val), classes=val.classes, **loading)


def check_files(file: COCOFile, key: str) -> None:
    """Check that the images of a file exist.

    Args:
        file: the file.
        key: the config's name of the folder of the images, for messages.

    Raises:
        DenseSiamError: some images are missing.
    """
    missing = [index for index in range(len(file.images)) if not os.path.isfile(file.images[index])]
    if missing:
        raise DenseSiamError(
            f"{len(missing)} of the {len(file.images)} images of {file.path} are missing, the first is "
            f"{file.images[missing[0]]}: add them, or set {key} to their folder"
        )
