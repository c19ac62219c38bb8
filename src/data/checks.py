"""Checks of the arguments of data sets, and of the files that they list."""

import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from src.checks import check_text
from src.data.images import IGNORE_INDEX, Images, LabelledImages
from src.errors import DenseSiamError
from src.overrides import override


def existing_root(root: str, layout: str, key: str = "data.root") -> Path:
    """The root of a data set as a path.

    Args:
        root: folder of the data set.
        layout: the expected content of the folder, in words for messages.
        key: the config's name of `root`.

    Raises:
        DenseSiamError: `root` is not a folder; the message says what was expected in it.
    """
    check_text(key, root)
    folder = Path(root)
    if not folder.is_dir():
        raise DenseSiamError(f"{key} is {root!r}, which is not a folder: expected {layout} in it; set {key}=DIR")
    return folder


def require_list(name: str, value: Sequence[str]) -> None:
    """Check that a value of the config is a list of different names.

    A single word is refused too: Python would take its letters for the list.

    Raises:
        DenseSiamError: the value is not a list of text, is empty, or has a name twice.
    """
    given: object = value  # the config does not check types
    if isinstance(given, str | int | float):
        raise DenseSiamError(f"{name} is {given!r}: expected a list, {override(name, [str(given)])}")
    if not isinstance(given, list | tuple) or not given:
        raise DenseSiamError(f"{name} is {given!r}: expected a list of one or more names")
    for each in given:
        check_text(name, each)
    if len(set(value)) < len(value):
        raise DenseSiamError(f"{name} is [{','.join(value)}]: expected each name once; remove the repeated names")


def require_files(paths: Sequence[Path], kind: str, remedy: str) -> None:
    """Check that all files exist.

    Args:
        paths: the files.
        kind: what the files are, in words for the message.
        remedy: what the user can do, in words for the message.

    Raises:
        DenseSiamError: some files are missing; the message counts them and names the first.
    """
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DenseSiamError(
            f"{len(missing)} of {len(paths)} {kind} are missing, the first expected file is {missing[0]}: {remedy}"
        )


def require_own_labels(images: LabelledImages) -> None:
    """Check that no two images share a label file, because its pixels would count twice.

    Raises:
        DenseSiamError: two images share one; the message names the first two.
    """
    used: dict[str, int] = {}
    for index in range(len(images)):
        first = used.setdefault(images.label_name(index), index)
        if first != index:
            raise DenseSiamError(
                f"{images.image_name(first)} and {images.image_name(index)} share the labels "
                f"{images.label_name(index)}: expected one image for each label file; remove or rename one of them"
            )


def with_labels(images: Images, wanted_by: str, remedy: str) -> LabelledImages:
    """The same images, once it is sure that each has labels of its own.

    Args:
        images: the images.
        wanted_by: what needs the labels, in words for messages.
        remedy: what the user can do, in words for messages.

    Raises:
        DenseSiamError: there are no labels, some are missing, or two images share them.
    """
    if not isinstance(images, LabelledImages):
        raise DenseSiamError(f"{wanted_by}, but the training images have no labels: {remedy}")
    missing = [images.label_name(index) for index in range(len(images)) if not is_labelled(images, index)]
    if missing:
        raise DenseSiamError(
            f"{wanted_by}, but {len(missing)} of {len(images)} training images have no labels, such as {missing[0]}: "
            f"{remedy}; train_splits have to be splits with labels"
        )
    require_own_labels(images)
    return images


def is_labelled(images: LabelledImages, index: int) -> bool:
    """Whether an image has labels. Generated ones, as those of scenes, are not files; their names have no suffix."""
    name = images.label_name(index)
    return not os.path.splitext(name)[1] or os.path.isfile(name)


def check_label(images: LabelledImages, index: int, image: Image.Image, label: Image.Image, num_classes: int) -> None:
    """Check that a label map fits its image and the classes.

    Args:
        images: the set, for the names in messages.
        index: index of the image.
        image, label: what was read.
        num_classes: number of classes.

    Raises:
        DenseSiamError: the label map has another size than its image, or a value that is not a class.
    """
    if image.size != label.size:
        raise DenseSiamError(
            f"labels {images.label_name(index)} are {label.width} x {label.height}, their image is "
            f"{image.width} x {image.height}: expected the same size; resize neither, export the labels again"
        )
    counts = enumerate(label.histogram())  # several times as fast as numpy.unique
    strange = [value for value, count in counts if count and value >= num_classes and value != IGNORE_INDEX]
    if strange:
        raise DenseSiamError(
            f"labels {images.label_name(index)} hold {strange}: expected 0 to {num_classes - 1}, or "
            f"{IGNORE_INDEX} for pixels without a class; map them, or add the classes"
        )
