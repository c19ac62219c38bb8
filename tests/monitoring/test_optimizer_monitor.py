"""What is logged of each step of the optimiser, and how often anything is logged."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, call

import pytest
import torch
from torch import nn

from src.monitoring.optimizer_monitor import OptimizerMonitor
from src.training.log_interval import LogEachEpoch


def test_the_norm_covers_all_groups_and_each_has_its_rate() -> None:
    first, second, unused = (nn.Parameter(torch.zeros(1)) for _ in range(3))
    first.grad, second.grad = torch.tensor([3.0]), torch.tensor([-4.0])
    optimizer = torch.optim.SGD([{"params": [first, unused], "lr": 0.1}, {"params": [second], "lr": 0.2}])
    module = Mock()
    OptimizerMonitor().on_before_optimizer_step(Mock(), module, optimizer)
    assert module.log.call_args_list == [
        call("optimizer/gradient_norm", torch.tensor(5.0)),
        call("optimizer/learning_rate", 0.1),
        call("optimizer/learning_rate_2", 0.2),
    ]


@pytest.mark.parametrize(
    ("batches", "accumulated", "given", "expected"), [(3, 1, 10, 3), (7, 2, 10, 4), (100, 1, 10, 10), (0, 1, 10, 1)]
)
def test_each_epoch_is_logged(batches: int, accumulated: int, given: int, expected: int) -> None:
    trainer: Any = SimpleNamespace(
        num_training_batches=batches, accumulate_grad_batches=accumulated, log_every_n_steps=given
    )
    LogEachEpoch().on_train_start(trainer, Mock())
    assert trainer.log_every_n_steps == expected
