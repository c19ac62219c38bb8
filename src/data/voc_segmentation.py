"""Pascal VOC's semantic segmentation, or other data in its layout."""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
from PIL import Image

from src.checks import check_text
from src.data.checks import existing_root, require_files, require_list
from src.data.classes import named_classes
from src.data.datamodule import ImageData, Loading
from src.data.overlap import shared_files, warn_of_overlap
from src.images.listing import read_list
from src.images.reading import open_image, open_label

LAYOUT = "JPEGImages/ID.jpg, SegmentationClass/ID.png and ImageSets/Segmentation/SPLIT.txt, as VOC unpacks"
# fmt: off
VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)
# fmt: on


class VOCImages:
    """The images of one or more splits, with label maps whose values are the numbers of classes.

    Args:
        root: holds `JPEGImages`, `SegmentationClass` and `ImageSets/Segmentation`.
        splits: names of the lists, in this order.

    Raises:
        DenseSiamError: a list, an image or a label file is missing, or a list names a file outside the folders.
    """

    def __init__(self, root: Path, splits: Sequence[str]) -> None:
        self.root, self.splits = root, splits
        files = [root / "ImageSets" / "Segmentation" / f"{split}.txt" for split in splits]
        require_files(files, "lists", f"expected {LAYOUT}")
        listed = [read_list(file) for file in files]
        self.ids = np.array([image_id for ids in listed for image_id in ids])  # an array, to save memory
        self.ends = np.cumsum([len(ids) for ids in listed])
        numbers = range(len(self))
        require_files([Path(self.image_name(index)) for index in numbers], "listed images", f"expected {LAYOUT}")
        require_files([Path(self.label_name(index)) for index in numbers], "label files", f"expected {LAYOUT}")

    def __len__(self) -> int:
        return len(self.ids)

    def image(self, index: int) -> Image.Image:
        return open_image(Path(self.image_name(index)))

    def image_name(self, index: int) -> str:
        return str(self.root / "JPEGImages" / f"{self.ids[index]}.jpg")

    def label(self, index: int) -> Image.Image:
        return open_label(Path(self.label_name(index)))

    def label_name(self, index: int) -> str:
        return str(self.root / "SegmentationClass" / f"{self.ids[index]}.png")

    def split_of(self, index: int) -> str:
        return self.splits[int(np.searchsorted(self.ends, index, side="right"))]

    def __str__(self) -> str:
        return f"VOC segmentation, {'+'.join(self.splits)} of {self.root}"


class VOCSegmentation(ImageData):
    """`data=voc_segmentation`: trains on the images of some splits and scores on the labels of one.

    Args:
        root: holds `JPEGImages`, `SegmentationClass` and `ImageSets/Segmentation`.
        train_splits: splits to train on.
        val_split: split to score.
        classes: names of the classes, in the order of their numbers in the label files, from 0; None for VOC's 21.
        loading: see `ImageData`.

    Raises:
        DenseSiamError: the root, a list, an image or a label file is missing, or a class has no proper name.
    """

    def __init__(
        self,
        root: str,
        train_splits: Sequence[str],
        val_split: str,
        classes: Sequence[str] | None,
        **loading: Unpack[Loading],
    ) -> None:
        folder = existing_root(root, LAYOUT)
        require_list("data.train_splits", train_splits)
        check_text("data.val_split", val_split)
        known = named_classes("data.classes", VOC_CLASSES if classes is None else classes)
        val = VOCImages(folder, [val_split])

        def train() -> VOCImages:
            images = VOCImages(folder, train_splits)
            warn_of_overlap(images.ids[shared_files(images, val)])
            return images

        super().__init__(train=train, val=val, classes=known, **loading)
