"""Optimisers and schedules as the paper sets them (5.1)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch


def scaled_lr(base_lr: float, batch_size: int) -> float:
    """Linear scaling of the learning rate: base x global batch size / 256 (5.1)."""
    return base_lr * batch_size / 256


def sgd(
    groups: Iterable[Mapping[str, Any]], base_lr: float, batch_size: int, momentum: float, weight_decay: float
) -> torch.optim.SGD:
    """SGD at the scaled learning rate; weight decay on all parameters that learn, as in the release and in SimSiam.

    Args:
        groups: each has its parameters under `params`, see `torch.optim`; those that need no gradient are left out.
        base_lr: learning rate at a global batch of 256.
        batch_size: global batch size.
        momentum, weight_decay: see `torch.optim.SGD`.
    """
    return torch.optim.SGD(learning(groups), scaled_lr(base_lr, batch_size), momentum, weight_decay=weight_decay)


def adam(groups: Iterable[Mapping[str, Any]], lr: float, weight_decay: float) -> torch.optim.Adam:
    """Adam at a fixed learning rate, as PiCIE and IIC set it; see `sgd` for the groups."""
    return torch.optim.Adam(learning(groups), lr, weight_decay=weight_decay)


def learning(groups: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The groups with those parameters alone that need a gradient."""
    return [{**group, "params": [one for one in group["params"] if one.requires_grad]} for group in groups]


def cosine(optimizer: torch.optim.Optimizer, steps: int, constant: Sequence[bool]) -> torch.optim.lr_scheduler.LambdaLR:
    """Half a cosine from the optimiser's learning rate to 0, stepped after each step (5.1, without restarts).

    SimSiam's code sets it once per epoch, to the same curve.

    Args:
        steps: of the whole run.
        constant: for each group of parameters whether its learning rate stays, as that of SimSiam's predictor may.
    """

    def share(step: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * min(step / steps, 1)))

    def whole(step: int) -> float:
        return 1.0

    return torch.optim.lr_scheduler.LambdaLR(optimizer, [whole if stays else share for stays in constant])
