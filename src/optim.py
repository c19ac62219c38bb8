"""Optimisers (paper 5.1), and the epoch in which RegionSim begins."""

import math
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import partial
from typing import Any

import torch

from src.checks import check_int, check_made, check_number

Groups = Iterable[Mapping[str, Any]]  # parameter groups of `torch.optim`: parameters are under `params`
MakeOptimizer = Callable[[Groups], torch.optim.Optimizer]


def scaled_lr(base_lr: float, batch_size: int, base_batch_size: int = 256) -> float:
    """Linear scaling of the learning rate: `base_lr` x global batch size / 256 (5.1), or another base."""
    return base_lr * batch_size / base_batch_size


def sgd(
    base_lr: float, batch_size: int, momentum: float, weight_decay: float, base_batch_size: int = 256
) -> MakeOptimizer:
    """SGD with the scaled learning rate and weight decay on all trained parameters, as in the release and in SimSiam.

    Args:
        base_lr: learning rate for a global batch size of `base_batch_size`.
        batch_size: global batch size.
        momentum, weight_decay: see `torch.optim.SGD`.
        base_batch_size: the batch size that `base_lr` is meant for.

    Returns:
        A function that makes the optimiser from groups of parameters; parameters without gradient are left out.

    Raises:
        DenseSiamError: a value is out of its range.
    """
    check_number("optimizer.base_lr", base_lr, low=0)
    check_int("optimizer.batch_size", batch_size, low=1)
    check_int("optimizer.base_batch_size", base_batch_size, low=1)
    check_number("optimizer.momentum", momentum, low=0, below=1)
    check_number("optimizer.weight_decay", weight_decay, low=0)
    lr = scaled_lr(base_lr, batch_size, base_batch_size)
    return partial(of_groups, torch.optim.SGD, lr=lr, momentum=momentum, weight_decay=weight_decay)


def adam(lr: float, weight_decay: float) -> MakeOptimizer:
    """Adam with a constant learning rate, as in PiCIE and IIC; see `sgd`."""
    check_number("optimizer.lr", lr, low=0)
    check_number("optimizer.weight_decay", weight_decay, low=0)
    return partial(of_groups, torch.optim.Adam, lr=lr, weight_decay=weight_decay)


def of_groups(kind: Callable[..., torch.optim.Optimizer], groups: Groups, **settings: float) -> torch.optim.Optimizer:
    """An optimiser of this kind for those parameters that need a gradient."""
    return kind(learning(groups), **settings)


def check_optimizer(value: Any) -> None:
    """Refuse a value of `task.optimizer` that is not a function which makes an optimiser.

    Raises:
        DenseSiamError: the value is something else.
    """
    check_made("task.optimizer", value, callable, "optimizer=sgd")


def learning(groups: Groups) -> list[dict[str, Any]]:
    """The groups with only those parameters that need a gradient."""
    return [{**group, "params": [one for one in group["params"] if one.requires_grad]} for group in groups]


def first_region_epoch(region_start: float, epochs: int) -> int:
    """The first epoch, counted from 0, with the RegionSim loss: `region_start` x `epochs`, rounded down.

    Rounding down means that every run has such an epoch. With 0.8 it is epoch 8 of 10, as in the release, and epoch 3
    of 4. `region_start` is used as the decimal number that the user has written: with floats, 0.29 of 100 would be 28.

    Args:
        region_start: fraction of the run, from 0 to below 1.
        epochs: number of epochs of the whole run.
    """
    return math.floor(Fraction(str(region_start)) * epochs)
