"""`classes.json`: the classes of a labelled folder."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, get_args

from src.data.checks import require_list
from src.data.images import IGNORE_INDEX
from src.errors import DenseSiamError
from src.metrics import Category
from src.regular import read_text

EXPECTED = (
    'expected a list of {"id": 0, "name": "sky", "kind": "stuff" or "thing"}, ids from 0 without a gap, each name once'
)
KINDS = get_args(Category.__annotations__["kind"])


def read_classes(path: Path) -> tuple[Category, ...]:
    """Read `classes.json`: a list of {"id", "name", "kind"}, ids from 0 without a gap, kinds `stuff` or `thing`.

    Raises:
        DenseSiamError: the file is missing or has another form, or it has more than 255 classes (labels have 8 bits,
            and 255 is `IGNORE_INDEX`).
    """
    try:
        entries = json.loads(read_text(path))
    except FileNotFoundError as error:
        raise DenseSiamError(f"there is no {path}: {EXPECTED}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DenseSiamError(f"can't read {path} ({type(error).__name__}: {error}): {EXPECTED}") from error
    if not isinstance(entries, list) or not entries:
        raise DenseSiamError(f"{path} holds {shortened(entries)}: {EXPECTED}")
    for entry in entries:
        if fault := _fault(entry):
            raise DenseSiamError(f"{path} holds {shortened(entry)}, {fault}: {EXPECTED}")
    if len(entries) > IGNORE_INDEX:
        raise DenseSiamError(
            f"{path} has {len(entries)} classes: expected at most {IGNORE_INDEX}, ids 0 to {IGNORE_INDEX - 1}, as "
            f"{IGNORE_INDEX} in a label file means that a pixel is not scored; merge or remove classes"
        )
    ids = sorted(entry["id"] for entry in entries)
    if ids != list(range(len(ids))):
        raise DenseSiamError(f"{path} has the ids {shortened(ids)}: {EXPECTED}")
    if repeated := _repeated([entry["name"] for entry in entries]):
        raise DenseSiamError(f"{path} has several classes called {repeated!r}: {EXPECTED}")
    return tuple(Category(entry["name"], entry["kind"]) for entry in sorted(entries, key=lambda entry: entry["id"]))


def named_classes(key: str, names: Sequence[str]) -> tuple[Category, ...]:
    """The classes of a list of names, which a config gives; `background` is stuff, all others are things.

    Args:
        key: the config's name of the list.
        names: the names.

    Raises:
        DenseSiamError: it is no list of different names, or has more than 255.
    """
    require_list(key, names)
    classes = tuple(Category(name, "stuff" if name == "background" else "thing") for name in names)
    for one in classes:
        if fault := _fault({"id": 0, "name": one.name, "kind": one.kind}):
            raise DenseSiamError(f"{key} holds {one.name!r}, {fault}: expected names such as [background,cat]")
    if len(classes) > IGNORE_INDEX:
        raise DenseSiamError(f"{key} has {len(classes)} names: expected at most {IGNORE_INDEX}; merge classes")
    return classes


def _fault(entry: Any) -> str:
    """What is wrong with one entry; "" if nothing is wrong."""
    if not isinstance(entry, dict) or not {"id", "name", "kind"} <= set(entry):
        return "which is not a class"
    if type(entry["id"]) is not int:
        return "whose id is not a whole number"
    name = entry["name"]
    if not isinstance(name, str) or not name.isprintable() or not name or name != name.strip():
        return "whose name is not one line of text without blanks around it"
    if entry["kind"] not in KINDS:
        return "whose kind is neither stuff nor thing"
    return ""


def _repeated(names: Sequence[str]) -> str:
    """The first name that occurs twice, or "" if all names are different."""
    return next((name for name, count in Counter(names).items() if count > 1), "")
