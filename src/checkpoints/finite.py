"""Detection of infinite values and nan, after which a training can't recover."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from src.errors import DenseSiamError


class NotFiniteError(DenseSiamError):
    """A loss, a weight, a statistic or the optimiser's state in a training is not finite."""


def not_finite(state: Any, name: str = "") -> Iterator[str]:
    """Names of the tensors in nested containers that hold an infinite value or nan.

    Args:
        state: a tensor, or dicts, lists and tuples of tensors.
        name: prefix of the names.
    """
    if isinstance(state, Tensor):
        if not bool(state.isfinite().all()):
            yield name
    elif isinstance(state, Mapping | list | tuple):
        entries = state.items() if isinstance(state, Mapping) else enumerate(state)
        for key, value in entries:
            yield from not_finite(value, f"{name}.{key}" if name else str(key))
