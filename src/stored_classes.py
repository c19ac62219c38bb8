"""The classes of a network in plain values, for checkpoints and `scores.json`, which may come from a stranger."""

from collections.abc import Sequence
from typing import Any

from src.errors import DenseSiamError
from src.metrics import Category

LONGEST_NAME = 200  # letters


def plain_classes(classes: Sequence[Category]) -> list[dict[str, str]]:
    """Classes in lists and dicts, which JSON and a checkpoint can hold."""
    return [{"name": one.name, "kind": one.kind} for one in classes]


def read_plain_classes(content: Any, source: str) -> tuple[Category, ...]:
    """Read what `plain_classes` has written.

    Args:
        content: the plain values.
        source: the file that holds them, for messages.

    Raises:
        DenseSiamError: the values are not those of one or more classes.
    """
    try:
        classes = tuple(Category(**entry) for entry in content)
    except (TypeError, ValueError, KeyError):
        classes = ()
    if not classes or not all(map(_is_class, classes)):
        raise DenseSiamError(f"the classes in {source} are damaged: expected what a run writes")
    return classes


def _is_class(one: Category) -> bool:
    name: object = one.name  # what a stranger's file holds, whatever the type says
    return isinstance(name, str) and len(name) <= LONGEST_NAME and str(one.kind) in ("stuff", "thing")
