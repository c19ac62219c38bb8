"""What labelled data sets check of their arguments and of the files that they list."""

from collections.abc import Sequence
from pathlib import Path

from src.data.images import LabelledImages
from src.errors import DenseSiamError


def existing_root(root: str, layout: str, key: str = "data.root") -> Path:
    """The root of a data set as a path; `key` is what the config calls it.

    Raises:
        DenseSiamError: it is no folder; the message says what was expected in it.
    """
    given: object = root  # a config holds anything
    folder = Path(root) if isinstance(given, str) else None
    if folder is None or not folder.is_dir():
        raise DenseSiamError(f"{key} is {root!r}, which is no folder: expected {layout} in it; set {key}=DIR")
    return folder


def require_list(name: str, value: Sequence[str]) -> None:
    """Refuse one word where a list of words is expected, as its letters would be taken for the list; and repetitions.

    Raises:
        DenseSiamError: it is one word, or has one twice.
    """
    if isinstance(value, str):
        raise DenseSiamError(f"{name} is {value!r}: expected a list, {name}=[{value}]")
    if len(set(value)) < len(value):
        raise DenseSiamError(f"{name} is [{','.join(value)}]: expected each name once; take out what is repeated")


def require_files(paths: Sequence[Path], kind: str, remedy: str) -> None:
    """Refuse a list of files of which some are absent.

    Raises:
        DenseSiamError: some are; the message counts them and names the first.
    """
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DenseSiamError(
            f"{len(missing)} of {len(paths)} {kind} are missing, the first expected file is {missing[0]}: {remedy}"
        )


def require_own_labels(images: LabelledImages) -> None:
    """Refuse images that share a label file: it would count several times.

    Raises:
        DenseSiamError: some do; the message names the first two.
    """
    used: dict[str, int] = {}
    for index in range(len(images)):
        first = used.setdefault(images.name(index), index)
        if first != index:
            raise DenseSiamError(
                f"{images.image_name(first)} and {images.image_name(index)} share the labels {images.name(index)}: "
                "expected one image for each label file; remove or rename one of them"
            )
