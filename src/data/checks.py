"""What labelled data sets check of their arguments and of the files that they list."""

from collections.abc import Sequence
from pathlib import Path

from src.checks import check_text
from src.data.images import LabelledImages
from src.errors import DenseSiamError
from src.overrides import override


def existing_root(root: str, layout: str, key: str = "data.root") -> Path:
    """The root of a data set as a path; `key` is what the config calls it.

    Raises:
        DenseSiamError: it is no folder; the message says what was expected in it.
    """
    check_text(key, root)
    folder = Path(root)
    if not folder.is_dir():
        raise DenseSiamError(f"{key} is {root!r}, which is no folder: expected {layout} in it; set {key}=DIR")
    return folder


def require_list(name: str, value: Sequence[str]) -> None:
    """Refuse what is no list of words: one word, whose letters would be taken for the list; numbers; and repetitions.

    Raises:
        DenseSiamError: it is something else, is empty, or has a word twice.
    """
    given: object = value  # a config holds anything
    if isinstance(given, str | int | float):
        raise DenseSiamError(f"{name} is {given!r}: expected a list, {override(name, [str(given)])}")
    if not isinstance(given, list | tuple) or not given:
        raise DenseSiamError(f"{name} is {given!r}: expected a list of one or more names")
    for each in given:
        check_text(name, each)
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
