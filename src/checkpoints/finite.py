"""Numbers of a training that are no longer finite: nothing that comes after them is worth keeping."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from src.errors import DenseSiamError


class NotFiniteError(DenseSiamError):
    """A training has left the finite numbers: a loss, a weight, a statistic or the optimiser's state."""


def not_finite(state: Any, name: str = "") -> Iterator[str]:
    """Names of the tensors in nested containers that hold an infinite value or nan; `name` stands before them."""
    if isinstance(state, Tensor):
        if not bool(state.isfinite().all()):
            yield name
    elif isinstance(state, Mapping | list | tuple):
        entries = state.items() if isinstance(state, Mapping) else enumerate(state)
        for key, value in entries:
            yield from not_finite(value, f"{name}.{key}" if name else str(key))
