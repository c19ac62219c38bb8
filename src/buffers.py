"""Buffers that stay in float32 for every precision of a run."""

from collections.abc import Callable
from typing import Self

from torch import Tensor, nn


class Float32Buffers(nn.Module):
    """A module whose own floating buffers keep their dtype and their values when it is converted.

    `trainer.precision=bf16-true` converts every floating tensor of a task. Rounding would spoil centroids and means,
    and functions that promise float32 would get another dtype. Parameters, and buffers of inner modules, are converted
    as usual. Moving to another device works as usual.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        own = {name: value for name, value in self._buffers.items() if value is not None and value.is_floating_point()}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, value in own.items():
            converted = self._buffers[name]
            if converted is not None and converted.dtype != value.dtype:
                self._buffers[name] = value.to(converted.device)
        return self
