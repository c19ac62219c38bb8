"""Ends a training at the first loss that is not finite, with a message that names every loss and the images."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from src.checkpoints.finite import NotFiniteError
from src.tasks.base import Data, Task

NAMED = 4  # the most images that a message names
EXACT = ("32-true", "64-true")  # precisions whose numbers do not overflow early


def check_finite_losses(task: Task, total: Tensor, losses: Mapping[str, Tensor], index: Tensor) -> None:
    """Refuse to train on a loss that is not finite.

    Args:
        task: the task that is trained.
        total: the weighted sum of the losses, a scalar.
        losses: the unweighted losses by name, each a scalar.
        index: (B,) numbers of the images in the batch.

    Raises:
        NotFiniteError: the sum is infinite or nan.
    """
    if torch.isfinite(total):
        return
    terms = ", ".join(f"{name} {value.item():.4g}" for name, value in losses.items())
    precision = task.trainer.precision
    other = "" if precision in EXACT else f", or set trainer.precision=32-true instead of {precision}"
    raise NotFiniteError(
        f"the loss is not finite at step {task.global_step}: {terms}, for {image_names(index.tolist(), task.data)}; "
        f"lower the learning rate{other}"
    )


def image_names(numbers: Sequence[int], data: Data | None) -> str:
    """Training images as a message names them: the paths of the first, or their numbers without data."""
    some = ", ".join(str(one) if data is None else data.train_image_name(one) for one in numbers[:NAMED])
    return f"{some} and {len(numbers) - NAMED} more images" if len(numbers) > NAMED else some
