"""Logging of what the optimiser gets and does."""

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch.nn.utils import get_total_norm


class OptimizerMonitor(Callback):
    """Logs `optimizer/gradient_norm` before clipping, and the learning rate of each group of parameters.

    The first group's is `optimizer/learning_rate`, the second one's `optimizer/learning_rate_2`.
    """

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        groups = optimizer.param_groups
        gradients = [one.grad for group in groups for one in group["params"] if one.grad is not None]
        pl_module.log("optimizer/gradient_norm", get_total_norm(gradients))
        for number, group in enumerate(groups, 1):
            pl_module.log(f"optimizer/learning_rate{f'_{number}' if number > 1 else ''}", float(group["lr"]))
