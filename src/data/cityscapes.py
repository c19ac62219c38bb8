"""Cityscapes in its own layout, with its 19 training classes or the 27 of the unsupervised benchmark."""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
from PIL import Image

from src.checks import check_text
from src.data.checks import existing_root, require_files, require_list
from src.data.datamodule import ImageData, Loading
from src.data.images import IGNORE_INDEX
from src.data.metadata import mapped, metadata
from src.data.overlap import shared_files, warn_of_overlap
from src.errors import DenseSiamError
from src.images.reading import open_image, open_label
from src.metrics import Category
from src.regular import files_in

LAYOUT = (
    "leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png and gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png, as "
    "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of www.cityscapes-dataset.com unpack"
)
IMAGE, LABEL, TRAIN_LABEL = "_leftImg8bit.png", "_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"
BLACK = "troisdorf_000000_000073"  # an image of train_extra that is completely black


def scheme(num_classes: int) -> tuple[tuple[Category, ...], dict[int, int]]:
    """The classes, and the class of every label id 0 to 33.

    The labels of the categories human and vehicle are things: only these are annotated as instances.

    Args:
        num_classes: 19 for the official training classes; 27 for the ids 7 to 33, that is, all that are not void, as
            in PiCIE and STEGO. All other ids are ignored. The license plate is in no label file.

    Raises:
        DenseSiamError: `num_classes` is neither 19 nor 27.
    """
    labels = metadata("cityscapes")["labels"]
    if num_classes == 19:
        kept = [label for label in labels if label["train_id"] != IGNORE_INDEX]
    elif num_classes == 27:
        kept = [label for label in labels if label["category"] != "void"]
    else:
        raise DenseSiamError(f"data.num_classes is {num_classes}: Cityscapes has 19 or 27")
    things = ("human", "vehicle")
    classes = tuple(Category(label["name"], "thing" if label["category"] in things else "stuff") for label in kept)
    class_of = {label["id"]: IGNORE_INDEX for label in labels}
    return classes, class_of | {label["id"]: number for number, label in enumerate(kept)}


class CityscapesImages:
    """The images of one or more splits of Cityscapes, with the fine labels mapped to classes.

    Args:
        root: holds `leftImg8bit` and `gtFine`.
        splits: folders below `leftImg8bit`, in this order.
        num_classes: see `scheme`.
        labelled: whether every image must have a label file.

    Raises:
        DenseSiamError: a split has no images, or an image has no label file. When labels are read: a value has no
            class.
    """

    def __init__(self, root: Path, splits: Sequence[str], num_classes: int, labelled: bool) -> None:
        self.root, self.splits, self.num_classes = root, splits, num_classes
        _, self.class_of = scheme(num_classes)
        self.names = np.array([name for split in splits for name in self._listed(split)])  # an array, to save memory
        if labelled:
            self._require_labels()

    def _listed(self, split: str) -> list[str]:
        images = self.root / "leftImg8bit"
        folder = images / split
        names = [
            f"{city.relative_to(images).as_posix()}/{name.removesuffix(IMAGE)}"
            for city in sorted(folder.glob("*"))
            for name in files_in(city)
            if name.endswith(IMAGE) and name != f"{BLACK}{IMAGE}"
        ]
        if not names:
            found = "it has none" if folder.is_dir() else "there is no such folder"
            raise DenseSiamError(f"expected images CITY/NAME{IMAGE} in {folder}, but {found}: expected {LAYOUT}")
        return names

    def _require_labels(self) -> None:
        paths = [Path(self.label_name(index)) for index in range(len(self))]
        converted = any(path.with_name(path.name.replace(LABEL, TRAIN_LABEL)).is_file() for path in paths)
        hint = f"; the files NAME{TRAIN_LABEL} can't be used instead" if converted else ""
        require_files(paths, "label files", f"expected {LAYOUT}{hint}")

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int) -> Image.Image:
        return open_image(Path(self.image_name(index)))

    def image_name(self, index: int) -> str:
        return str(self.root / "leftImg8bit" / f"{self.names[index]}{IMAGE}")

    def label(self, index: int) -> Image.Image:
        name = self.label_name(index)
        return mapped(np.asarray(open_label(Path(name))), self.class_of, name, "Cityscapes' label ids, 0 to 33")

    def label_name(self, index: int) -> str:
        return str(self.root / "gtFine" / f"{self.names[index]}{LABEL}")

    def split_of(self, index: int) -> str:
        return str(self.names[index]).partition("/")[0]

    def __str__(self) -> str:
        return f"Cityscapes, {self.num_classes} classes, {'+'.join(self.splits)} of {self.root}"


class Cityscapes(ImageData):
    """`data=cityscapes`: trains on the images of some splits and scores on the fine labels of one.

    Args:
        root: holds `leftImg8bit` and, for the split that is scored, `gtFine`.
        num_classes: 19 or 27, see `scheme`.
        train_splits: splits to train on, without labels: some of `train`, `train_extra`, `val`, `test`.
        val_split: split to score: `val` or `train`.
        loading: see `ImageData`.

    Raises:
        DenseSiamError: the root, a split, or the labels of the split to score are missing.
    """

    def __init__(
        self,
        root: str,
        num_classes: int,
        train_splits: Sequence[str],
        val_split: str,
        **loading: Unpack[Loading],
    ) -> None:
        folder = existing_root(root, LAYOUT)
        require_list("data.train_splits", train_splits)
        check_text("data.val_split", val_split)
        if val_split == "test":
            raise DenseSiamError("data.val_split is test, whose labels are not public: set data.val_split=val or train")
        classes, _ = scheme(num_classes)
        val = CityscapesImages(folder, [val_split], num_classes, labelled=True)

        def train() -> CityscapesImages:
            images = CityscapesImages(folder, train_splits, num_classes, labelled=False)
            warn_of_overlap(images.names[shared_files(images, val)])
            return images

        super().__init__(train=train, val=val, classes=classes, **loading)
