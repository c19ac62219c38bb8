"""Comparing tensors with stored numbers, and whole states of a training with each other."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def assert_close(found: Tensor, expected: Tensor | np.ndarray | float, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(
        found.double(), torch.as_tensor(expected).double().expand_as(found), atol=tolerance, rtol=tolerance
    )


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Where two nested containers of tensors and values differ by so much as a bit."""
    if isinstance(one, Tensor):
        return [] if torch.equal(one, other) else [where]
    if isinstance(one, dict) and one.keys() == other.keys():
        return [found for key in one for found in differences(one[key], other[key], f"{where}.{key}")]
    if isinstance(one, list | tuple) and len(one) == len(other):
        return [found for k in range(len(one)) for found in differences(one[k], other[k], f"{where}[{k}]")]
    return [] if one == other else [where]
