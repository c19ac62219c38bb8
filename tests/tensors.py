"""Random tensors that are the same in every run, and comparing tensors with stored numbers."""

import numpy as np
import torch
from torch import Tensor, nn


def noise(*shape: int, seed: int = 0, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def images(*shape: int) -> Tensor:
    """Values in 0..1."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def shaken(model: nn.Module) -> nn.Module:
    """Random batch norm statistics as well, as trained weights have them."""
    for name, value in model.state_dict().items():
        if "running" in name:
            value.uniform_(0.5, 1.5)
    return model


def assert_close(found: Tensor, expected: Tensor | np.ndarray | float, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(
        found.double(), torch.as_tensor(expected).double().expand_as(found), atol=tolerance, rtol=tolerance
    )
