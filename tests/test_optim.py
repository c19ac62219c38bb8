"""The learning rate and the parameters it moves."""

import pytest
import torch
from torch import nn

from src.optim import adam, scaled_lr, sgd


def test_scaling_is_linear() -> None:
    assert scaled_lr(0.05, 512) == pytest.approx(0.1)
    assert scaled_lr(0.05, 256) == 0.05
    assert scaled_lr(0.05, 32) == pytest.approx(0.00625)


def test_only_parameters_that_learn_are_moved() -> None:
    model = nn.Sequential(nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 3))
    optimizer = sgd(base_lr=0.05, batch_size=512, momentum=0.9, weight_decay=1e-4)([{"params": model.parameters()}])
    (group,) = optimizer.param_groups
    assert [id(parameter) for parameter in group["params"]] == [id(parameter) for parameter in model[1].parameters()]
    assert group["lr"] == pytest.approx(0.05 * 512 / 256)
    assert group["momentum"] == 0.9
    assert group["weight_decay"] == 1e-4
    assert not group["nesterov"]


def test_one_parameter_by_hand() -> None:
    """Gradient 1 at weight 2, weight decay 0.5: steps of lr x (1 + 0.5 w), then with momentum 0.9."""
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = sgd(base_lr=0.1, batch_size=256, momentum=0.9, weight_decay=0.5)([{"params": iter([weight])}])
    expected, speed = 2.0, 0.0
    for _ in range(3):
        optimizer.zero_grad()
        weight.sum().backward()
        optimizer.step()
        speed = 0.9 * speed + 1 + 0.5 * expected
        expected -= 0.1 * speed
    assert weight.item() == pytest.approx(expected)


def test_adam_moves_what_learns_at_a_fixed_rate() -> None:
    """The first step of Adam is the learning rate, against the gradient's sign."""
    frozen, weight = nn.Parameter(torch.ones(1), requires_grad=False), nn.Parameter(torch.tensor([2.0]))
    optimizer = adam(lr=1e-2, weight_decay=0)([{"params": [frozen, weight]}])
    (3 * weight).sum().backward()
    optimizer.step()
    assert frozen.item() == 1
    assert weight.item() == pytest.approx(2 - 1e-2)
