"""A folder of images with label maps of the same names."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
from PIL import Image

from src.checks import check_text
from src.data.checks import existing_root, require_files, require_list, warn_of_overlap
from src.data.datamodule import Loading, TwoViewData
from src.data.images import open_image, open_label
from src.data.listing import SUFFIXES
from src.errors import DenseSiamError
from src.metrics import Category

LAYOUT = "images/<split>/NAME.jpg|png, labels/<split>/NAME.png and classes.json"


class FolderImages:
    """The images of one or more splits of a folder, with labels where they are asked for.

    Args:
        root: of the layout `images/<split>/NAME.jpg`, `labels/<split>/NAME.png`.
        splits: folders below `images` and `labels`, in order.
        labelled: whether every image must have its labels.

    Raises:
        DenseSiamError: a folder is missing or empty, or an image has no labels.
    """

    def __init__(self, root: Path, splits: Sequence[str], labelled: bool) -> None:
        self.root, self.splits, folders = root, splits, [root / "images" / split for split in splits]
        self.paths = [path for folder in folders for path in images_in(folder)]
        if labelled:
            paths = [self.label_path(index) for index in range(len(self))]
            require_files(paths, "label files", "add them or remove the images")

    def __len__(self) -> int:
        return len(self.paths)

    def image(self, index: int) -> Image.Image:
        return open_image(self.paths[index])

    def image_name(self, index: int) -> str:
        return str(self.paths[index])

    def label(self, index: int) -> Image.Image:
        return open_label(self.label_path(index))

    def label_path(self, index: int) -> Path:
        return self.root / "labels" / self.paths[index].relative_to(self.root / "images").with_suffix(".png")

    def __str__(self) -> str:
        return f"{'+'.join(self.splits)} of {self.root}"

    def name(self, index: int) -> str:
        return str(self.label_path(index))


class LabelledFolder(TwoViewData):
    """`data=labelled_folder`: trains on the images of some splits and scores on the labels of one.

    Args:
        root: of the layout `images/<split>/NAME.jpg|png`, `labels/<split>/NAME.png`, `classes.json` (a list of {id,
            name, kind}; labels are 8 bit with these ids, 255 for none).
        train_splits: their images are trained on, without labels.
        val_split: its images are scored.
        loading: see `TwoViewData`.

    Raises:
        DenseSiamError: the root or a part of its layout is missing, or `classes.json` is not as expected.
    """

    def __init__(
        self,
        root: str,
        train_splits: Sequence[str],
        val_split: str,
        **loading: Unpack[Loading],
    ) -> None:
        folder = existing_root(root, LAYOUT)
        require_list("data.train_splits", train_splits)
        check_text("data.val_split", val_split)
        val = FolderImages(folder, [val_split], labelled=True)

        def train() -> FolderImages:
            images = FolderImages(folder, train_splits, labelled=False)
            warn_of_overlap(np.array([str(path) for path in images.paths]), np.array([str(path) for path in val.paths]))
            return images

        super().__init__(train=train, val=val, classes=read_classes(folder / "classes.json"), **loading)


def images_in(folder: Path) -> list[Path]:
    """The images of one folder, sorted by name; names that begin with a dot are none.

    Raises:
        DenseSiamError: no such folder, or no image in it.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
    if not paths:
        found = "it has none" if folder.is_dir() else "there is no such folder"
        raise DenseSiamError(f"expected images in {folder}, but {found}: the layout is {LAYOUT}")
    return paths


def read_classes(path: Path) -> tuple[Category, ...]:
    """Read `classes.json`: a list of {"id", "name", "kind"}, ids from 0 without a gap, kinds `stuff` or `thing`.

    Raises:
        DenseSiamError: missing or otherwise.
    """
    expected = 'expected a list of {"id": 0, "name": "sky", "kind": "stuff" or "thing"}, ids from 0 without a gap'
    try:
        entries = sorted(json.loads(path.read_text(encoding="utf-8")), key=lambda entry: entry["id"])
        classes = tuple(Category(entry["name"], entry["kind"]) for entry in entries)
        numbered = [entry["id"] for entry in entries] == list(range(len(entries)))
    except FileNotFoundError as error:
        raise DenseSiamError(f"there is no {path}: {expected}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DenseSiamError(f"can't read {path} ({type(error).__name__}: {error}): {expected}") from error
    if not (numbered and classes and all(category.kind in ("stuff", "thing") for category in classes)):
        raise DenseSiamError(f"{path} is not as expected: {expected}")
    return classes
