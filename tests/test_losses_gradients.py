"""What the losses pass back: where gradients stop, and that invalid images add nothing to the mean."""

import math

import pytest
import torch
from torch import Tensor

from src.losses import DISTANCES, contrastive_region_loss, region_embeddings, similarity_loss, valid_mean
from tests.comparing import assert_close
from tests.factories import noise


def identity(value: Tensor) -> Tensor:
    return value


# Gradients.


@pytest.mark.parametrize("name", sorted(DISTANCES))
@pytest.mark.parametrize("stop_gradient", [True, False])
def test_stop_gradient_of_the_similarity(name: str, stop_gradient: bool) -> None:
    p1, z1, p2, z2 = (noise(2, 4, 3, 3, seed=seed).requires_grad_() for seed in range(4))
    similarity_loss(p1, z1, p2, z2, DISTANCES[name], stop_gradient).sum().backward()
    assert all(p.grad.abs().max() > 1e-3 for p in (p1, p2))
    if stop_gradient:
        assert z1.grad is None
        assert z2.grad is None
    else:
        assert all(z.grad.abs().max() > 1e-3 for z in (z1, z2))


@pytest.mark.parametrize("stop_gradient", [True, False])
def test_stop_gradient_of_the_contrast(stop_gradient: bool) -> None:
    u1, v1, u2, v2 = (noise(2, 4, 6, seed=seed).requires_grad_() for seed in range(4))
    contrastive_region_loss(u1, v1, u2, v2, 0.1, True, stop_gradient).sum().backward()
    assert all(u.grad.abs().max() > 1e-3 for u in (u1, u2))
    if stop_gradient:
        assert v1.grad is None
        assert v2.grad is None
    else:
        assert all(v.grad.abs().max() > 1e-3 for v in (v1, v2))


def test_both_factors_of_the_region_embeddings_keep_their_gradient() -> None:
    z, features = noise(1, 3, 2, 2).requires_grad_(), noise(1, 4, 2, 2, seed=1).requires_grad_()
    region_embeddings(z, features).square().sum().backward()
    assert z.grad.abs().max() > 1e-3
    assert features.grad.abs().max() > 1e-3


# Means over the valid images.


def test_valid_mean_by_hand() -> None:
    values = torch.tensor([1.0, 5.0, 3.0], requires_grad=True)
    found = valid_mean(values, torch.tensor([True, False, True]), identity)
    assert found.item() == 2
    found.backward()
    assert values.grad.tolist() == [0.5, 0, 0.5]


def test_without_a_valid_image_value_and_gradient_are_zero() -> None:
    values = torch.tensor([1.0, 5.0], requires_grad=True)
    found = valid_mean(values, torch.zeros(2, dtype=torch.bool), identity)
    assert found.item() == 0
    found.backward()
    assert values.grad.tolist() == [0, 0]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_invalid_images_may_hold_anything(bad: float) -> None:
    values = torch.tensor([1.0, bad, 3.0], requires_grad=True)
    found = valid_mean(values, torch.tensor([True, False, True]), identity)
    assert found.item() == 2
    found.backward()
    assert values.grad.tolist() == [0.5, 0, 0.5]


@pytest.mark.parametrize("name", sorted(DISTANCES))
def test_an_invalid_image_reaches_no_other_images_gradient(name: str) -> None:
    p = noise(2, 4, 3, 3)
    p[1] = math.nan
    p.requires_grad_()
    z = noise(2, 4, 3, 3, seed=1)
    values = similarity_loss(p, z, p, z, DISTANCES[name], stop_gradient=True)
    valid_mean(values, torch.tensor([True, False]), identity).backward()
    assert p.grad[0].isfinite().all()
    assert p.grad[0].abs().max() > 1e-3


@pytest.mark.parametrize(
    "valid",
    [
        [[True, False, True], [False, False, True]],
        [[True, True, True], [False, False, False]],
        [[False, True, False], [False, False, False]],
    ],
)
def test_two_processes_equal_one(valid: list[list[bool]]) -> None:
    """Averaging the gradients of processes with unlike numbers of valid images is the gradient of the whole batch."""
    values = noise(2, 3).requires_grad_()
    masks = torch.tensor(valid)
    counts = masks.sum(1).float()

    def mean_over_processes(own: Tensor) -> Tensor:
        assert own.item() in counts.tolist()
        return counts.mean()

    parts = [valid_mean(values[k], masks[k], mean_over_processes) for k in range(2)]
    shared = torch.autograd.grad(sum(parts) / 2, values)[0]
    whole = valid_mean(values.flatten(), masks.flatten(), identity)
    assert_close(sum(parts) / 2, whole.item())
    assert_close(shared, torch.autograd.grad(whole, values)[0])
