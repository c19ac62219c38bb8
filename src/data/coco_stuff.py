"""COCO-Stuff in COCO's own layout, with the 27 classes of the IIC / PiCIE benchmark or with all 171."""

import gzip
from importlib.resources import files
from pathlib import Path, PureWindowsPath
from typing import Unpack

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from PIL import Image

from src.checks import check_text
from src.data.checks import existing_root, require_files
from src.data.datamodule import ImageData, Loading
from src.data.images import IGNORE_INDEX
from src.data.metadata import mapped, metadata
from src.data.overlap import shared_files, warn_of_overlap
from src.errors import DenseSiamError
from src.images.listing import read_list
from src.images.reading import open_image, open_label
from src.metrics import Category
from src.regular import files_in

LAYOUT = (
    "train2017/, val2017/ and stuffthingmaps/val2017/ (stuffthingmaps_trainval2017.zip unpacked in stuffthingmaps/)"
)


def curated_ids(split: str) -> list[str]:
    """Image ids of the benchmark's curated subset: 49,629 for `train`, 2,175 for `val`.

    The lists come from IIC; PiCIE and the paper use them too. They are part of the package.
    """
    packed = files("src.data").joinpath(f"coco_stuff27_{split}.txt.gz").read_bytes()
    return gzip.decompress(packed).decode("ascii").split()


def scheme(num_classes: int) -> tuple[tuple[Category, ...], dict[int, int]]:
    """The classes, and the class of every value that a label file of COCO-Stuff may hold.

    Args:
        num_classes: 27 for the coarse classes, to which all values 0 to 181 are mapped; 171 for the fine classes
            (80 things, 91 stuff) in the order of their values, without the 11 values that COCO-Stuff never uses.

    Raises:
        DenseSiamError: `num_classes` is neither 27 nor 171.
    """
    known = metadata("coco_stuff")
    if num_classes == 27:
        classes = tuple(Category(entry["name"], entry["kind"]) for entry in known["coarse_classes"])
        class_of = dict(enumerate(known["fine_to_coarse"]))
    elif num_classes == 171:
        names, first_stuff = known["names"], known["first_stuff"]
        values = [value for value in range(len(names)) if value not in known["unused"]]
        classes = tuple(Category(names[value], "thing" if value < first_stuff else "stuff") for value in values)
        class_of = {value: number for number, value in enumerate(values)}
    else:
        raise DenseSiamError(f"data.num_classes is {num_classes}: COCO-Stuff has 27 or 171")
    return classes, class_of | {IGNORE_INDEX: IGNORE_INDEX}


def chosen_ids(choice: str, split: str, folder: Path) -> list[str]:
    """Image ids of a list, in the order of the list, each id once.

    Args:
        choice: `curated`, `all` (every `.jpg` in the folder), or a file with one image per line: the number of the
            image, also with leading zeros, a folder or a suffix (139, 000000000139, val2017/000000000139.jpg).
        split: `train` or `val`.
        folder: folder of the images.

    Raises:
        DenseSiamError: the list does not exist or is empty.
    """
    if choice == "curated":
        return curated_ids(split)
    if choice == "all":
        return image_ids(folder)
    if not Path(choice).is_file():
        raise DenseSiamError(
            f"data.{split}_list is {choice!r}, which is not a file: expected curated, all, or a file of one id per line"
        )
    entries = [PureWindowsPath(entry).stem.zfill(12) for entry in read_list(Path(choice))]  # both kinds of slashes
    ids = list(dict.fromkeys(entries))
    if len(ids) < len(entries):
        rank_zero_warn(f"{choice} names {len(entries) - len(ids)} images twice: each is used once")
    return ids


def image_ids(folder: Path) -> list[str]:
    """The ids of all images in a folder, sorted."""
    return sorted(name.removesuffix(".jpg") for name in files_in(folder) if name.endswith(".jpg"))


class CocoImages:
    """Images of one split of COCO, with COCO-Stuff's labels mapped to classes.

    Args:
        root: holds `train2017`, `val2017` and `stuffthingmaps`.
        split: `train` or `val`.
        choice: see `chosen_ids`; images of the list that are not on disk are left out with a warning.
        num_classes: see `scheme`.
        labelled: whether every image must have a label file.

    Raises:
        DenseSiamError: none of the images exists, or an image has no label file. When labels are read: a value
            has no class.
    """

    def __init__(self, root: Path, split: str, choice: str, num_classes: int, labelled: bool) -> None:
        self.folder, self.labels = root / f"{split}2017", root / "stuffthingmaps" / f"{split}2017"
        self.split, self.num_classes = split, num_classes
        _, self.class_of = scheme(num_classes)
        ids = chosen_ids(choice, split, self.folder)
        present = set(image_ids(self.folder))
        missing = [image_id for image_id in ids if image_id not in present]
        self.what = f"{choice} images" if choice in ("curated", "all") else f"images listed in {choice}"
        if len(missing) == len(ids):
            such = f", such as {ids[0]}.jpg" if ids else ""
            raise DenseSiamError(
                f"expected {self.what} in {self.folder}{such}, but there are none: the layout is {LAYOUT}"
            )
        if missing:
            self.what = f"{len(ids) - len(missing)} of {len(ids)} {self.what}"
            so = "scores are not comparable with those on all of them" if labelled else "training uses the others"
            rank_zero_warn(
                f"{self.folder} has {self.what}, the others, such as {', '.join(missing[:3])}, are missing: {so}"
            )
        self.ids = np.array([image_id for image_id in ids if image_id in present])  # an array, to save memory
        if labelled:
            paths = [Path(self.label_name(index)) for index in range(len(self))]
            require_files(paths, "label files", f"expected {LAYOUT}")

    def __len__(self) -> int:
        return len(self.ids)

    def image(self, index: int) -> Image.Image:
        return open_image(Path(self.image_name(index)))

    def image_name(self, index: int) -> str:
        return str(self.folder / f"{self.ids[index]}.jpg")

    def label(self, index: int) -> Image.Image:
        name = self.label_name(index)
        unused = " except the 11 that it never uses" if self.num_classes == 171 else ""
        expected = f"COCO-Stuff's values, 0 to 181{unused}, and {IGNORE_INDEX} for no class"
        return mapped(np.asarray(open_label(Path(name))), self.class_of, name, expected)

    def label_name(self, index: int) -> str:
        return str(self.labels / f"{self.ids[index]}.png")

    def split_of(self, index: int) -> str:
        return self.split

    def __str__(self) -> str:
        return f"COCO-Stuff-{self.num_classes}, {self.what} in {self.folder}"


class CocoStuff(ImageData):
    """`data=coco_stuff27` and `data=coco_stuff171`: trains on images of train2017, scores on those of val2017.

    Args:
        root: holds `train2017`, `val2017` and `stuffthingmaps/val2017`; training needs no labels.
        num_classes: 27 or 171, see `scheme`.
        train_list, val_list: `curated`, `all` or a file, see `chosen_ids`.
        loading: see `ImageData`.

    Raises:
        DenseSiamError: the root, a list, its images, or the labels of the images to score are missing.
    """

    def __init__(self, root: str, num_classes: int, train_list: str, val_list: str, **loading: Unpack[Loading]) -> None:
        folder = existing_root(root, LAYOUT)
        check_text("data.train_list", train_list)
        check_text("data.val_list", val_list)
        classes, _ = scheme(num_classes)
        val = CocoImages(folder, "val", val_list, num_classes, labelled=True)

        def train() -> CocoImages:
            images = CocoImages(folder, "train", train_list, num_classes, labelled=False)
            shared = np.isin(images.ids, val.ids)  # an id means the same image even where the file is a copy
            shared[shared_files(images, val)] = True
            warn_of_overlap(images.ids[shared])
            return images

        super().__init__(train=train, val=val, classes=classes, **loading)
