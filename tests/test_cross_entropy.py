"""The cross entropies with their own backward pass: values and gradients, and what they keep."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck
from torch.autograd.graph import saved_tensors_hooks

from src.cross_entropy import own_cross_entropy, soft_cross_entropy
from tests import naive
from tests.factories import noise

WEIGHTS = torch.tensor([0.3, 0.0, 2.0, 1.0], dtype=torch.float64)


def logits(seed: int = 0, scale: float = 2.0) -> Tensor:
    return (scale * noise(2, 3, 4, seed=seed)).double().requires_grad_()


def plain_soft(p: Tensor, z: Tensor) -> Tensor:
    """With torch's own operations, which keep four tensors of this size."""
    return -(z.softmax(-1) * p.log_softmax(-1)).sum(-1)


def plain_own(z: Tensor, weights: Tensor) -> Tensor:
    label = z.argmax(-1)
    return weights[label] * F.cross_entropy(z.movedim(-1, 1), label, reduction="none")


def test_values_equal_the_loop() -> None:
    p, z = logits().detach(), logits(1).detach()
    found = soft_cross_entropy(p, z)
    assert found.flatten().tolist() == pytest.approx(
        [naive.cross_entropy_distance(*pair) for pair in zip(*(x.flatten(0, 1).tolist() for x in (p, z)), strict=True)]
    )
    losses = own_cross_entropy(z, WEIGHTS).mean(1)
    assert losses.tolist() == pytest.approx([naive.segmentation_loss(rows, WEIGHTS.tolist()) for rows in z.tolist()])


@pytest.mark.parametrize("scale", [0.1, 2.0, 40.0])
@pytest.mark.parametrize(
    ("call", "plain", "second"),
    [(soft_cross_entropy, plain_soft, logits(1).detach()), (own_cross_entropy, plain_own, WEIGHTS)],
)
def test_gradients_are_those_of_torchs_own_operations(
    call: Callable[..., Tensor], plain: Callable[..., Tensor], second: Tensor, scale: float
) -> None:
    upstream = noise(2, 3, seed=5).double()
    gradients = []
    for function in (call, plain):
        first = logits(scale=scale)
        value = function(first, second)
        (value * upstream).sum().backward()
        gradients.append((value.detach(), first.grad))
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_gradients_are_differences_of_values() -> None:
    z = logits(1).detach()
    assert gradcheck(lambda p: soft_cross_entropy(p, z), (logits(),))
    assert gradcheck(lambda p: own_cross_entropy(p, WEIGHTS), (logits(),))


@pytest.mark.parametrize("call", [lambda z: soft_cross_entropy(z, z.detach()), lambda z: own_cross_entropy(z, WEIGHTS)])
def test_one_tensor_of_full_size_is_kept(call: Callable[[Tensor], Tensor]) -> None:
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        call(logits())
        assert sum(tensor.numel() == 24 for tensor in kept) == 1
        kept.clear()
        call(logits().detach())
        assert not kept


def test_a_second_derivative_is_refused() -> None:
    for value in (soft_cross_entropy(p := logits(), logits(1).detach()), own_cross_entropy(p, WEIGHTS)):
        (gradient,) = torch.autograd.grad(value.square().sum(), p, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            gradient.sum().backward()
