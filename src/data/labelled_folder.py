"""A folder of images with label maps that have the same names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from PIL import Image

from src.checks import check_text
from src.data.checks import existing_root, require_files, require_list, require_own_labels
from src.data.classes import read_classes
from src.data.datamodule import ImageData, Loading
from src.data.overlap import shared_files, warn_of_overlap
from src.errors import DenseSiamError
from src.images.formats import SUFFIXES
from src.images.reading import open_image, open_label
from src.regular import files_in

LAYOUT = "images/<split>/NAME.jpg|png, labels/<split>/NAME.png and classes.json"


class FolderImages:
    """The images of one or more splits of a folder, with or without labels.

    Args:
        root: folder with the layout `images/<split>/NAME.jpg`, `labels/<split>/NAME.png`.
        splits: folders below `images` and `labels`, in this order.
        labelled: whether every image must have its own label file.

    Raises:
        DenseSiamError: a folder is missing or empty, an image has no label file, or two images share a label file.
    """

    def __init__(self, root: Path, splits: Sequence[str], labelled: bool) -> None:
        self.root, self.splits, folders = root, splits, [root / "images" / split for split in splits]
        self.paths = [path for folder in folders for path in images_in(folder)]
        if labelled:
            paths = [self.label_path(index) for index in range(len(self))]
            require_files(paths, "label files", "add them or remove the images")
            require_own_labels(self)

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

    def split_of(self, index: int) -> str:
        return self.paths[index].parent.relative_to(self.root / "images").as_posix()

    def __str__(self) -> str:
        return f"{'+'.join(self.splits)} of {self.root}"

    def label_name(self, index: int) -> str:
        return str(self.label_path(index))


class LabelledFolder(ImageData):
    """`data=labelled_folder`: trains on the images of some splits and scores on the labels of one.

    Args:
        root: folder with the layout `images/<split>/NAME.jpg|png`, `labels/<split>/NAME.png` and `classes.json` (a
            list of {id, name, kind}). Label files have 8 bit: one of these ids per pixel, 255 for no class.
        train_splits: splits to train on, without labels.
        val_split: split to score.
        loading: see `ImageData`.

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
            warn_of_overlap(map(images.image_name, shared_files(images, val)))
            return images

        super().__init__(train=train, val=val, classes=read_classes(folder / "classes.json"), **loading)


def images_in(folder: Path) -> list[Path]:
    """The images in one folder, sorted by name, without hidden files (names that begin with a dot).

    Raises:
        DenseSiamError: there is no such folder, or no image in it.
    """
    paths = [folder / name for name in files_in(folder) if name.lower().endswith(SUFFIXES)]
    if not paths:
        found = "it has none" if folder.is_dir() else "there is no such folder"
        raise DenseSiamError(f"expected images in {folder}, but {found}: the layout is {LAYOUT}")
    return paths
