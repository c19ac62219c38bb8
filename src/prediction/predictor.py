"""What trained networks that are ready for use have in common."""

from typing import Self

import torch
from torch import nn


class Predictor:
    """A trained network that computes on one device.

    Attributes:
        network: the network, in evaluation mode.
    """

    network: nn.Module

    @property
    def device(self) -> torch.device:
        """The device that computes."""
        return next(self.network.parameters()).device

    def to(self, device: str | torch.device) -> Self:
        """Compute on another device, such as `cuda`; returns itself."""
        self.network.to(device)
        return self
