"""The classes of known data sets, from the JSON files in this folder, and the mapping of label values to classes."""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from src.data.images import IGNORE_INDEX
from src.errors import DenseSiamError


def metadata(name: str) -> dict[str, Any]:
    """The content of `NAME.json`."""
    content: dict[str, Any] = json.loads(files("src.data").joinpath(f"{name}.json").read_text(encoding="utf-8"))
    return content


def mapped(label: NDArray[Any], class_of: Mapping[int, int], name: str, expected: str) -> Image.Image:
    """Replace the values of a label file by classes.

    Args:
        label: (H, W), any integer dtype.
        class_of: the class, or `IGNORE_INDEX`, of every value that may occur; values are not negative.
        name: name of the file, for messages.
        expected: the values that may occur, in words for messages.

    Returns:
        An 8-bit label map (H, W).

    Raises:
        DenseSiamError: `label` has a value that `class_of` does not have. Such values are never ignored silently.
    """
    strange = sorted(set(np.unique(label).tolist()) - set(class_of))
    if strange:
        raise DenseSiamError(f"labels {name} hold {strange}: expected {expected}; unpack the labels again")
    table = np.full(max(class_of) + 1, IGNORE_INDEX, dtype=np.uint8)
    table[list(class_of)] = list(class_of.values())
    return Image.fromarray(table[label])
