"""PASCAL VOC's boxes, and boxes of one's own in VOC's layout."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Unpack
from xml.etree.ElementTree import Element

from PIL import Image

from src.checks import check_text
from src.data.checks import existing_root, require_list
from src.data.detection import DetectionData, DetectionLoading
from src.data.detection_objects import Label, check_coordinates, check_size, label_of
from src.data.xml_files import read_xml
from src.errors import DenseSiamError
from src.images.file_list import FileList
from src.images.formats import SUFFIXES
from src.images.listing import read_list
from src.images.reading import open_image
from src.metrics import Category

LAYOUT = "JPEGImages/ID.jpg, Annotations/ID.xml and ImageSets/Main/SPLIT.txt, itself or in a folder of each year"
CORNERS = ("xmin", "ymin", "xmax", "ymax")


class VOCImages:
    """The images of one or more splits, with the boxes of their XML files.

    VOC counts pixels from 1, and a box holds both ends; here it is (xmin - 1, ymin - 1, xmax, ymax), as in detectron2.

    Args:
        root: folder with VOC's layout, or VOCdevkit with a folder of this layout for each year.
        splits: names of lists, such as `train`, or `VOC2007/train` below VOCdevkit.
        classes: the names of the classes, in the order of their numbers.

    Raises:
        DenseSiamError: a list is missing, or an image or its annotation; an image is listed twice.
    """

    trains_on_ignored = True

    def __init__(self, root: Path, splits: Sequence[str], classes: Sequence[str]) -> None:
        self.root, self.splits = root, splits
        self.numbers: Mapping[str, int] = {name: number for number, name in enumerate(classes)}
        found = [pair for split in splits for pair in files_of(root, split)]
        if len(set(found)) < len(found):
            raise DenseSiamError(f"the splits [{','.join(splits)}] share images: expected each image in one of them")
        self.images = FileList.from_names(root, (image for image, _ in found))
        self.annotations = FileList.from_names(root, (annotation for _, annotation in found))

    def __len__(self) -> int:
        return len(self.images)

    def __str__(self) -> str:
        return f"{'+'.join(self.splits)} of {self.root}"

    def image(self, index: int) -> Image.Image:
        return open_image(self.images[index])

    def image_name(self, index: int) -> str:
        return str(self.images[index])

    def label_name(self, index: int) -> str:
        return str(self.annotations[index])

    def stated_size(self, index: int) -> tuple[int, int] | None:
        return size_in(read_annotation(self.annotations[index]))

    def objects(self, index: int, size: tuple[int, int] | None = None) -> Label:
        name, tree = self.label_name(index), read_annotation(self.annotations[index])
        check_size(name, size_in(tree), size)
        boxes, labels, ignored = [], [], []
        for each in tree.iterfind("object"):
            labels.append(self._number(name, text_of(each, "name")))
            boxes.append(box_of(name, each))
            ignored.append(is_difficult(name, each))
        check_coordinates(name, boxes)
        return label_of(boxes, labels, ignored, [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes])

    def _number(self, file: str, name: str) -> int:
        if name not in self.numbers:
            known = ", ".join(list(self.numbers)[:20])
            raise DenseSiamError(
                f"{file} has an object called {name!r}, which is none of the {len(self.numbers)} classes {known}: "
                "set data.classes=[NAME,NAME,...] to the names in your annotations, or correct the name"
            )
        return self.numbers[name]


def files_of(root: Path, split: str) -> list[tuple[str, str]]:
    """The image and the annotation of each name in a list, relative to the root.

    Raises:
        DenseSiamError: the list is missing, or one of the files.
    """
    year, _, name = split.rpartition("/")
    if ".." in split.split("/") or split.startswith("/"):
        raise DenseSiamError(f"the split {split!r} leads out of {root}: expected a name such as train or VOC2007/train")
    folder = root / year
    file = folder / "ImageSets" / "Main" / f"{name}.txt"
    if not file.is_file():
        raise DenseSiamError(f"there is no {file}: expected {LAYOUT} in {root}; set data.root and the splits")
    ids = read_list(file)
    names = {str(each): _image_below(folder / "JPEGImages", each) for each in ids}
    for kind, missing in (
        ("images", [each for each in ids if not names[each]]),
        ("annotations", [each for each in ids if not (folder / "Annotations" / f"{each}.xml").is_file()]),
    ):
        if missing:
            raise DenseSiamError(
                f"{len(missing)} of the {len(ids)} {kind} of {file} are missing, the first is that of {missing[0]}: "
                "add them or remove the names from the list (an annotation without <object> says that there is nothing)"
            )
    start = f"{year}/" if year else ""
    return [(f"{start}JPEGImages/{names[each]}", f"{start}Annotations/{each}.xml") for each in ids]


def _image_below(folder: Path, name: str) -> str:
    """The name of the image with this name without suffix; "" if there is none."""
    return next((name + suffix for suffix in (".jpg", *SUFFIXES) if os.path.isfile(folder / (name + suffix))), "")


def read_annotation(path: Path) -> Element:
    """The root of an annotation.

    Raises:
        UnreadableFileError: see `read_xml`.
        DenseSiamError: the file is XML of another kind.
    """
    tree = read_xml(path)
    if tree.tag != "annotation":
        raise DenseSiamError(f"{path} begins with <{tree.tag}>: expected <annotation>, as VOC has it; replace the file")
    return tree


def size_in(tree: Element) -> tuple[int, int] | None:
    """(width, height) in an annotation; None where it is not stated, or stated as 0, as some programs do."""
    try:
        width, height = (int(tree.findtext(f"size/{side}", "")) for side in ("width", "height"))
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None


def text_of(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def box_of(file: str, element: Element) -> tuple[float, float, float, float]:
    """The box of an object, x0 y0 x1 y1.

    Raises:
        DenseSiamError: a corner is missing or not a number.
    """
    texts = [text_of(element, f"bndbox/{corner}") for corner in CORNERS]
    try:
        x0, y0, x1, y1 = map(float, texts)
    except ValueError as error:
        raise DenseSiamError(
            f"{file} has an object {text_of(element, 'name')!r} with the box {texts}: expected numbers in <bndbox> "
            f"with {', '.join(CORNERS)}; correct or remove the object"
        ) from error
    return x0 - 1, y0 - 1, x1, y1


def is_difficult(file: str, element: Element) -> bool:
    """Whether an object is marked as difficult; no mark means that it is not.

    Raises:
        DenseSiamError: the mark is neither 0 nor 1.
    """
    mark = text_of(element, "difficult") or "0"
    if mark not in ("0", "1"):
        raise DenseSiamError(f"{file} has <difficult>{mark}</difficult>: expected 0 or 1; correct it")
    return mark == "1"


class VOCDetection(DetectionData):
    """`data=voc_detection`: PASCAL VOC's boxes, or one's own in the same layout.

    Args:
        root: folder with VOC's layout, or VOCdevkit with a folder of each year.
        train_splits: the splits to train on, such as `train`, or `VOC2007/trainval` below VOCdevkit.
        val_split: the split to score.
        classes: the names of the classes in the annotations.
        loading: see `ImageData`.

    Raises:
        DenseSiamError: the root or a part of its layout is missing.
    """

    def __init__(
        self,
        root: str,
        train_splits: Sequence[str],
        val_split: str,
        classes: Sequence[str],
        **loading: Unpack[DetectionLoading],
    ) -> None:
        folder = existing_root(root, LAYOUT)
        require_list("data.train_splits", train_splits)
        require_list("data.classes", classes)
        check_text("data.val_split", val_split)
        super().__init__(
            train=lambda: VOCImages(folder, train_splits, classes),
            val=VOCImages(folder, [val_split], classes),
            classes=[Category(name, "thing") for name in classes],
            **loading,
        )
