"""What every task that trains does in a step, and before the first: the sum of the losses, and the precision."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from src.checkpoints.finite import NotFiniteError
from src.errors import DenseSiamError
from src.tasks.base import Task

NAMED = 4  # the most images that a message names


def weighted_losses(
    task: Task, losses: Mapping[str, Tensor], weights: Mapping[str, float], index: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """The losses of a step times their weights, and their sum.

    Args:
        task: the task that trains.
        losses: the unweighted losses, a scalar each.
        weights: the weight of each loss.
        index: (B,) the numbers of the images of the batch, for the message.

    Raises:
        NotFiniteError: the sum is not finite; the message has all losses and names the images.
    """
    weighted = {name: weights[name] * value for name, value in losses.items()}
    total = torch.stack(list(weighted.values())).sum()
    if not torch.isfinite(total):
        terms = ", ".join(f"{name} {value.item():.4g}" for name, value in losses.items())
        precision = task.trainer.precision
        exact = precision in ("32-true", "64-true")
        raise NotFiniteError(
            f"the loss is not finite at step {task.global_step}: {terms}, for {image_names(task, index)}; "
            f"lower the learning rate{'' if exact else f', or set trainer.precision=32-true instead of {precision}'}"
        )
    return weighted, total


def image_names(task: Task, index: Tensor) -> str:
    """Images as a message names them: their paths, or their numbers if the task has no data yet."""
    numbers, data = index.tolist(), task.data
    some = ", ".join(str(one) if data is None else data.train_image_name(one) for one in numbers[:NAMED])
    return f"{some} and {len(numbers) - NAMED} more images" if len(numbers) > NAMED else some


@contextmanager
def enough_for_batch_norm(images: int) -> Iterator[None]:
    """Replace torch's error for a batch norm that gets a single value by one message.

    Raises:
        DenseSiamError: batch norm got one value per channel, from so many images.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise DenseSiamError(
            f"batch norm found one value per channel with {images} image(s) per process: expected at least 2 images; "
            "raise data.batch_size, use fewer processes, or trainer=ddp on GPUs, which synchronises it"
        ) from error


def convert_to_precision(task: Task) -> None:
    """Convert a task to the precision of the run, but leave batches as they are; for `Task.setup`.

    Lightning would convert the task only after reading the weights of a checkpoint, and so round float64 weights. The
    only floats of a batch are boxes: bfloat16 would move those of a view by up to 1/512 of its side.

    Raises:
        DenseSiamError: see `refuse_overfit_batches`.
    """
    trainer: Any = task.trainer  # Lightning sets these without declaring them
    refuse_overfit_batches(trainer)
    plugin = trainer.precision_plugin
    plugin.convert_module(task)
    plugin.convert_input = lambda batch: batch


def refuse_overfit_batches(trainer: Any) -> None:
    """Refuse `trainer.overfit_batches`, with which Lightning would replace the sampler of the training images.

    Raises:
        DenseSiamError: it is set.
    """
    if trainer.overfit_batches:
        raise DenseSiamError(
            f"trainer.overfit_batches is {trainer.overfit_batches}: it would replace the sampler that views are drawn "
            "by; for a few batches an epoch set +trainer.limit_train_batches=2 and +trainer.limit_val_batches=2, and "
            "for few images a smaller data set"
        )


@contextmanager
def drawn_from(seed: int, step: int, index: Tensor) -> Iterator[None]:
    """Let a network's random numbers (dropout, sampled regions) depend only on the run, the step and the images.

    Otherwise all processes would draw the same numbers for different images, and how many numbers torchvision draws
    differs from process to process, while a checkpoint holds the states of one process only.

    Args:
        seed: seed of the run.
        step: the training step.
        index: (B,) numbers of the images in the batch.
    """
    state = np.random.SeedSequence([seed, step, *index.tolist()]).generate_state(1, np.uint64)
    devices = [index.device] if index.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int(state[0] >> 1))
        yield
