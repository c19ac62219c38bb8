"""Learning rate schedules, updated after each training step."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from src.checks import check_int, check_number
from src.errors import DenseSiamError

MakeSchedule = Callable[[torch.optim.Optimizer, int], LRScheduler]  # of an optimiser and the steps of the whole run


def cosine(optimizer: torch.optim.Optimizer, steps: int, constant: Sequence[bool]) -> torch.optim.lr_scheduler.LambdaLR:
    """Cosine decay of the learning rate to 0, without restarts, updated after each training step (5.1).

    SimSiam's code updates it once per epoch, on the same curve.

    Args:
        optimizer: the optimiser.
        steps: number of training steps of the whole run.
        constant: for each group of parameters, whether its learning rate stays constant. SimSiam has an option to keep
            that of the predictor constant.
    """

    def share(step: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * min(step / steps, 1)))

    def whole(step: int) -> float:
        return 1.0

    return torch.optim.lr_scheduler.LambdaLR(optimizer, [whole if stays else share for stays in constant])


def poly(power: float, min_lr: float) -> MakeSchedule:
    """Polynomial decay to a lowest rate, as MMSegmentation's `poly`: (lr - min_lr) (1 - step / steps)^power + min_lr.

    Args:
        power: the exponent, above 0.
        min_lr: the lowest learning rate, at the end of the run.

    Raises:
        DenseSiamError: a value is out of its range.
    """
    check_number("schedule.power", power, above=0)
    check_number("schedule.min_lr", min_lr, low=0)

    def schedule(optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
        def share(step: int, lr: float) -> float:
            lowest = min(min_lr / lr, 1) if lr else 1.0
            return (1 - lowest) * (1 - min(step / steps, 1)) ** power + lowest

        return LambdaLR(optimizer, [partial(share, lr=group["lr"]) for group in optimizer.param_groups])

    return schedule


def drops(at: Sequence[float], factor: float, warmup_steps: int, warmup_factor: float) -> MakeSchedule:
    """Constant rates that drop at some steps, after a linear warm-up: detectron2's `WarmupMultiStepLR`.

    Args:
        at: where the rate is multiplied by `factor`, as shares of the run, ascending, each between 0 and 1.
        factor: what the rate is multiplied by at each drop.
        warmup_steps: number of steps in which the rate grows linearly to its full value; 0 for none.
        warmup_factor: the share of the full rate at the first step.

    Raises:
        DenseSiamError: a value is out of its range.
    """
    for share in check_shares(at):
        check_number("schedule.at", share, above=0, below=1)
    check_number("schedule.factor", factor, above=0, high=1)
    check_int("schedule.warmup_steps", warmup_steps)
    check_number("schedule.warmup_factor", warmup_factor, low=0, high=1)

    def schedule(optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
        ends = [round(share * steps) for share in at]

        def rate(step: int) -> float:
            warm = min(step / warmup_steps, 1) if warmup_steps else 1.0
            return (warmup_factor * (1 - warm) + warm) * factor ** sum(step >= end for end in ends)

        return LambdaLR(optimizer, rate)

    return schedule


def check_shares(at: object) -> Sequence[float]:
    """The value of `schedule.at`, if it is a list of numbers in ascending order.

    Raises:
        DenseSiamError: it is something else.
    """
    if not isinstance(at, list | tuple) or list(at) != sorted(at):
        raise DenseSiamError(f"schedule.at is {at!r}: expected a list of shares of the run, ascending, [0.75,0.92]")
    return at
