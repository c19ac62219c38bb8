"""What the tasks share in a training step."""

import torch
from torch import Tensor

from src.tasks.steps import drawn_from


def draw(seed: int, step: int, index: list[int]) -> Tensor:
    torch.rand(3)
    with drawn_from(seed, step, torch.tensor(index)):
        return torch.rand(4)


def test_random_numbers_depend_on_the_seed_the_step_and_the_images_only() -> None:
    torch.manual_seed(0)
    first = draw(0, 3, [1, 2])
    assert torch.equal(draw(0, 3, [1, 2]), first)
    for other in (draw(1, 3, [1, 2]), draw(0, 4, [1, 2]), draw(0, 3, [2, 1]), draw(0, 3, [1])):
        assert not torch.equal(other, first)


def test_other_draws_go_on_as_before() -> None:
    torch.manual_seed(7)
    after = torch.rand(1)
    torch.manual_seed(7)
    with drawn_from(0, 3, torch.tensor([1])):
        torch.rand(9)
    assert torch.equal(torch.rand(1), after)
