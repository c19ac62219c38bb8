"""Potsdam-3, aerial photographs, in the layout that IIC made and STEGO uses."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import loadmat

from src.checks import check_text
from src.data.checks import existing_root, require_files, require_list
from src.data.datamodule import ImageData, Loading
from src.data.metadata import mapped, metadata
from src.data.overlap import shared_files, warn_of_overlap
from src.errors import DenseSiamError
from src.images.listing import read_list
from src.images.reading import UnreadableFileError
from src.metrics import Category
from src.regular import open_regular

LAYOUT = (
    "imgs/ID.mat, gt/ID.mat, unlabelled_train.txt, labelled_train.txt and labelled_test.txt, as Potsdam.tar.gz unpacks "
    "(github.com/xu-ji/IIC, datasets/README.txt)"
)


def scheme() -> tuple[tuple[Category, ...], dict[int, int]]:
    """The three classes, and the class of every value 0 to 5.

    All three classes are stuff: cars are the only countable objects, and they are a small part of the class that they
    share with the roads.
    """
    entries = metadata("potsdam")["classes"]
    classes = tuple(Category(entry["name"], entry["kind"]) for entry in entries)
    return classes, {value: number for number, entry in enumerate(entries) for value in entry["values"]}


def read_mat(path: Path, key: str) -> NDArray[Any]:
    """Read one array of a MATLAB file (version 4 to 7.2).

    Raises:
        UnreadableFileError: the file can't be decoded.
        DenseSiamError: the file does not hold such an array.
    """
    try:
        with open_regular(path) as file:
            content = loadmat(file)  # type: ignore[arg-type] # SciPy's stubs allow paths only
    except Exception as error:  # damaged bytes make loadmat raise nearly anything
        said = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableFileError(f"can't read {path} ({said}): unpack it again or remove it") from error
    if key not in content:
        names = [name for name in content if not name.startswith("__")]
        raise DenseSiamError(f"{path} holds {names}: expected an array {key!r}; the layout is {LAYOUT}")
    if isinstance(content[key], str):  # loadmat returns the text of its warning in place of a damaged array
        raise UnreadableFileError(f"can't read {path} ({content[key]}): unpack it again or remove it")
    return np.asarray(content[key])


class PotsdamImages:
    """The images of one or more lists of Potsdam, 200 x 200 pixels, with the labels mapped to three classes.

    The fourth channel (infrared) is left out, because encoders and their pretrained weights expect RGB.

    Args:
        root: holds `imgs`, `gt` and the lists.
        lists: names of the lists, in this order.
        labelled: whether every image must have a label file.

    Raises:
        DenseSiamError: a list, an image or a label file is missing. When a file is read: its array has another form,
            or a value has no class.
    """

    def __init__(self, root: Path, lists: Sequence[str], labelled: bool) -> None:
        self.root, self.lists = root, lists
        _, self.class_of = scheme()
        files = [root / f"{name}.txt" for name in lists]
        require_files(files, "lists", f"expected {LAYOUT}")
        listed = [read_list(file) for file in files]
        self.ids = np.array([image_id for ids in listed for image_id in ids])  # an array, to save memory
        self.ends = np.cumsum([len(ids) for ids in listed])
        numbers = range(len(self))
        require_files([Path(self.image_name(index)) for index in numbers], "listed images", f"expected {LAYOUT}")
        if labelled:
            require_files([Path(self.label_name(index)) for index in numbers], "label files", f"expected {LAYOUT}")

    def __len__(self) -> int:
        return len(self.ids)

    def image(self, index: int) -> Image.Image:
        name = self.image_name(index)
        pixels = read_mat(Path(name), "img")
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 4:
            raise DenseSiamError(f"{name} holds {_form(pixels)}: expected 8 bit, height x width x 4 (RGB, infrared)")
        return Image.fromarray(np.ascontiguousarray(pixels[:, :, :3]))

    def image_name(self, index: int) -> str:
        return str(self.root / "imgs" / f"{self.ids[index]}.mat")

    def label(self, index: int) -> Image.Image:
        name = self.label_name(index)
        label = read_mat(Path(name), "gt")
        if label.dtype.kind not in "iu" or label.ndim != 2:
            raise DenseSiamError(f"labels {name} hold {_form(label)}: expected integers, height x width")
        return mapped(label, self.class_of, name, "0 to 5")

    def label_name(self, index: int) -> str:
        return str(self.root / "gt" / f"{self.ids[index]}.mat")

    def split_of(self, index: int) -> str:
        return self.lists[int(np.searchsorted(self.ends, index, side="right"))]

    def __str__(self) -> str:
        return f"Potsdam-3, {'+'.join(self.lists)} of {self.root}"


def _form(array: NDArray[Any]) -> str:
    return f"{array.dtype}, {' x '.join(map(str, array.shape))}"


class Potsdam(ImageData):
    """`data=potsdam`: trains on the images of some lists and scores on the labels of one.

    Args:
        root: holds `imgs`, `gt` and the lists.
        train_lists: lists of images to train on, without labels: some of `unlabelled_train`, `labelled_train`,
            `labelled_test`.
        val_list: list of images to score: `labelled_test` or `labelled_train`.
        loading: see `ImageData`.

    Raises:
        DenseSiamError: the root, a list, or an image or label file of a list is missing.
    """

    def __init__(self, root: str, train_lists: Sequence[str], val_list: str, **loading: Unpack[Loading]) -> None:
        folder = existing_root(root, LAYOUT)
        require_list("data.train_lists", train_lists)
        check_text("data.val_list", val_list)
        classes, _ = scheme()
        val = PotsdamImages(folder, [val_list], labelled=True)

        def train() -> PotsdamImages:
            images = PotsdamImages(folder, train_lists, labelled=False)
            warn_of_overlap(images.ids[shared_files(images, val)])
            return images

        super().__init__(train=train, val=val, classes=classes, **loading)
