"""Optimisers and schedules as the paper sets them (5.1)."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import torch

from src.checks import check_int, check_made, check_number

Groups = Iterable[Mapping[str, Any]]  # each has its parameters under `params`, see `torch.optim`
MakeOptimizer = Callable[[Groups], torch.optim.Optimizer]


def scaled_lr(base_lr: float, batch_size: int) -> float:
    """Linear scaling of the learning rate: base x global batch size / 256 (5.1)."""
    return base_lr * batch_size / 256


def sgd(base_lr: float, batch_size: int, momentum: float, weight_decay: float) -> MakeOptimizer:
    """SGD at the scaled learning rate; weight decay on all parameters that learn, as in the release and in SimSiam.

    Args:
        base_lr: learning rate at a global batch of 256.
        batch_size: global batch size.
        momentum, weight_decay: see `torch.optim.SGD`.

    Returns:
        makes the optimiser from groups of parameters; those that need no gradient are left out.

    Raises:
        DenseSiamError: a value out of its range.
    """
    check_number("optimizer.base_lr", base_lr, low=0)
    check_int("optimizer.batch_size", batch_size, low=1)
    check_number("optimizer.momentum", momentum, low=0, below=1)
    check_number("optimizer.weight_decay", weight_decay, low=0)
    lr = scaled_lr(base_lr, batch_size)
    return partial(of_groups, torch.optim.SGD, lr=lr, momentum=momentum, weight_decay=weight_decay)


def adam(lr: float, weight_decay: float) -> MakeOptimizer:
    """Adam at a fixed learning rate, as PiCIE and IIC set it; see `sgd`."""
    check_number("optimizer.lr", lr, low=0)
    check_number("optimizer.weight_decay", weight_decay, low=0)
    return partial(of_groups, torch.optim.Adam, lr=lr, weight_decay=weight_decay)


def of_groups(kind: Callable[..., torch.optim.Optimizer], groups: Groups, **settings: float) -> torch.optim.Optimizer:
    """An optimiser of this kind for the parameters that learn."""
    return kind(learning(groups), **settings)


def check_optimizer(value: Any) -> None:
    """Refuse a value of `task.optimizer` that makes no optimiser.

    Raises:
        DenseSiamError: it is something else.
    """
    check_made("task.optimizer", value, callable, "optimizer=sgd")


def learning(groups: Groups) -> list[dict[str, Any]]:
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


def first_region_epoch(region_start: float, epochs: int) -> int:
    """The epoch, from 0, from which on RegionSim counts: the share of all epochs, rounded down.

    So there is one in every run: of 10 epochs and 0.8 it is epoch 8, as in the release, and of 4 epochs it is epoch 3.
    The share is taken as the decimal number that it is written as; in floats 0.29 of 100 would be 28.

    Args:
        region_start: from 0 to below 1.
        epochs: of the whole run.
    """
    return math.floor(Fraction(str(region_start)) * epochs)
