"""Finds the files to predict: one image, a folder, or a pattern."""

import glob
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from src.errors import DenseSiamError
from src.images.formats import SUFFIXES

OWN = ("clusters", "detections", "overlays", "arrays", "legend.png")  # what `src.prediction.results` writes


class Listed(NamedTuple):
    """Files to predict.

    Attributes:
        root: the folder that their names are relative to.
        names: their paths below the root, sorted, with `/`.
    """

    root: Path
    names: list[str]


def list_inputs(given: str, output: Path) -> Listed:
    """The files that `input` names.

    Everything below a folder whose name ends as that of an image is listed, also what can't be read, so that it is
    reported. Names that begin with a dot are left out, links to folders are not followed.

    Args:
        given: a file, a folder, or a pattern with `*`, `?` and `**`.
        output: the folder of the results; the results themselves are left out.

    Raises:
        DenseSiamError: nothing is found, or a pattern leads out of its folder.
    """
    path = Path(given)
    if path.is_dir():
        root, names = path, sorted(_below(path))
    elif os.path.lexists(path):
        return Listed(path.parent, [path.name])
    elif glob.has_magic(given):
        root = _fixed_part(path)
        if ".." in path.relative_to(root).parts:
            raise DenseSiamError(f"input={given} has .. after a wildcard: expected a pattern of names below a folder")
        found = {Path(one) for one in glob.iglob(given, recursive=True)}
        names = sorted(one.relative_to(root).as_posix() for one in found if _is_image(one.name) and not one.is_dir())
    else:
        raise DenseSiamError(
            f"there is no {given}: expected input to be an image, a folder or a pattern such as DIR/*.jpg"
        )
    own = [(output / name).resolve() for name in OWN]
    names = [name for name in names if not any((root / name).resolve().is_relative_to(place) for place in own)]
    if not names:
        raise DenseSiamError(f"input={given} has no images: their names end in {' '.join(SUFFIXES)}")
    return Listed(root, names)


def _below(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder, name).relative_to(root).as_posix() for name in files if _is_image(name))


def _is_image(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def _fixed_part(pattern: Path) -> Path:
    """The folders of a pattern before the first one with a wildcard."""
    fixed = []
    for part in pattern.parent.parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def result_names(names: list[str]) -> list[str]:
    """The name of each file's results: the file's name without its suffix, or with it if two would be the same."""
    found = [name.rpartition(".")[0] for name in names]
    while True:
        counts = Counter(one.casefold() for one in found)
        longer = [name if counts[one.casefold()] > 1 else one for name, one in zip(names, found, strict=True)]
        if longer == found:
            return found
        found = longer
