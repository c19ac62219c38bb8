"""The criterion that tests train with, and the mean over the processes where there is one."""

from typing import Any

from torch import Tensor

from src.tasks.criterion import Criterion

VALUES = {
    "distance": "cross_entropy",
    "stop_gradient": True,
    "region_loss": "contrastive",
    "region_temperature": 0.1,
    "region_normalise": True,
    "region_stop_gradient": False,
    "seg_weighting": "frequency",
}


def criterion_of(changes: dict[str, Any]) -> Criterion:
    """The release's criterion, but for those of these changes that are its own; they are taken out."""
    own = {key: changes.pop(key) for key in list(changes) if key in VALUES}
    return Criterion(**(VALUES | own))


def alone(value: Tensor) -> Tensor:
    """The mean over the processes where there is one."""
    return value
