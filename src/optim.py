"""Optimisers as the paper sets them (5.1)."""

from collections.abc import Iterable

import torch
from torch import nn


def scaled_lr(base_lr: float, batch_size: int) -> float:
    """Linear scaling of the learning rate: base x global batch size / 256 (5.1)."""
    return base_lr * batch_size / 256


def sgd(
    parameters: Iterable[nn.Parameter], base_lr: float, batch_size: int, momentum: float, weight_decay: float
) -> torch.optim.SGD:
    """SGD at the scaled, constant learning rate; weight decay on all parameters that learn, as in the release.

    Args:
        parameters: those that need no gradient are left out.
        base_lr: learning rate at a global batch of 256.
        batch_size: global batch size.
        momentum, weight_decay: see `torch.optim.SGD`.
    """
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    return torch.optim.SGD(learning, scaled_lr(base_lr, batch_size), momentum, weight_decay=weight_decay)
