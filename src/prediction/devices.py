"""The device that predicts."""

import torch

from src.checks import check_choice
from src.errors import DenseSiamError


def device_of(name: str) -> str:
    """The device of the value `device`; `auto` is a GPU if there is one.

    Raises:
        DenseSiamError: the name is unknown, or there is no such device here.
    """
    check_choice("device", name, ("auto", "cpu", "cuda", "mps"))
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, available in there.items() if available)
    if not there[name]:
        raise DenseSiamError(f"device is {name}, which this machine does not have: set device=auto")
    return name
