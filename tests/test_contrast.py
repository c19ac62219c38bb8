"""The contrast's own gradient, in float64, and beside the obvious computation that autograd follows."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from src.contrast import Contrast
from tests.factories import noise


def obvious(u: Tensor, v: Tensor, temperature: float, normalise: bool) -> Tensor:
    if normalise:
        u, v = F.normalize(u, dim=2), F.normalize(v, dim=2)
    return -(u @ v.mT / temperature).log_softmax(2).diagonal(dim1=1, dim2=2)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_gradients(normalise: bool, transposed: bool) -> None:
    u, v = (noise(2, 5, 4, seed=seed).double() for seed in range(2))
    if transposed:  # as the region head gives them
        u, v = u.mT.contiguous().mT, v.mT.contiguous().mT
    u, v = u.requires_grad_(), v.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: Contrast.apply(a, b, 0.7, normalise), (u, v))


@pytest.mark.parametrize("normalise", [True, False])
def test_it_is_the_obvious_computation(normalise: bool) -> None:
    first = [noise(3, 6, 8, seed=seed).double().requires_grad_() for seed in range(2)]
    second = [x.detach().clone().requires_grad_() for x in first]
    with torch.no_grad():
        for u, _ in (first, second):
            u[0, 2] = 0  # the length of a region without points
    weights = noise(3, 6, seed=5).double()
    found, expected = Contrast.apply(*first, 0.1, normalise), obvious(*second, 0.1, normalise)
    torch.testing.assert_close(found, expected)
    for values in (found, expected):
        (values * weights).sum().backward(retain_graph=True)
        (values * weights).sum().backward()  # the second pass finds what the first has left
    for x, y in zip(first, second, strict=True):
        torch.testing.assert_close(x.grad, y.grad)


def test_only_the_gradients_that_are_needed_are_computed() -> None:
    u, v = noise(1, 3, 2).requires_grad_(), noise(1, 3, 2, seed=1)
    Contrast.apply(u, v, 0.1, True).sum().backward()
    assert u.grad is not None
    assert v.grad is None
