"""Eq. 1-6 and L_seg against the release's numbers, gradients included."""

import numpy as np
import pytest
import torch
from torch import Tensor

from src.losses import (
    category_counts,
    category_weights,
    contrastive_region_loss,
    cross_entropy_distance,
    region_embeddings,
    segmentation_loss,
    similarity_loss,
)
from src.models.heads import RegionHead
from tests.comparing import assert_close
from tests.conftest import Golden


def tensors(case: dict[str, np.ndarray], *names: str, learn: bool = False) -> list[Tensor]:
    return [torch.from_numpy(case[name]).requires_grad_(learn) for name in names]


def test_golden_cross_entropy(golden: Golden) -> None:
    case = golden("ce_similarity")
    p, z = tensors(case, "p", "z", learn=True)
    found = cross_entropy_distance(p, z.detach())
    assert_close(found, case["out_map_f64"])
    found.mean().backward()
    assert_close(found.mean(), case["out_mean_f64"])
    assert_close(p.grad, case["grad_p_f64"])


def test_golden_symmetric_loss(golden: Golden) -> None:
    """The stored value belongs to z2 made of p and p2 made of z, both with their categories reversed."""
    case = golden("ce_similarity")
    p1, z1 = tensors(case, "p", "z")
    z2, p2 = 0.7 * p1.flip(1), 0.5 * z1.flip(1)
    found = similarity_loss(p1, z1, p2, z2, cross_entropy_distance, stop_gradient=True)
    assert_close(found.mean(), case["symmetric_f64"])


@pytest.mark.parametrize(("tag", "weighting"), [("plain", "none"), ("rebalance", "frequency")])
def test_golden_segmentation_loss(golden: Golden, tag: str, weighting: str) -> None:
    case = golden("hard_ce_similarity")
    (z,) = tensors(case, "z", learn=True)
    counts = category_counts(z, torch.ones(2, dtype=torch.bool))
    assert counts.tolist() == case["counts"].tolist()
    weights = category_weights(counts, weighting)
    if weighting == "frequency":
        assert_close(weights, case["weight"])
    found = segmentation_loss(z, weights)
    assert_close(found, case[f"out_map_{tag}_f64"].mean((1, 2)))
    single = segmentation_loss(z.permute(0, 2, 3, 1).reshape(-1, 6, 1), weights)  # every position as an image
    assert_close(single, case[f"out_map_{tag}_f64"].flatten())
    found.mean().backward()
    assert_close(z.grad, case[f"grad_z_{tag}_f64"])


def test_golden_region_embeddings(golden: Golden) -> None:
    case = golden("kernel_contrast")
    for view in (1, 2):
        z, features = tensors(case, f"z{view}", f"feats_v{view}")
        found = region_embeddings(z, features)
        assert found.shape == (2, 5, 16)
        assert_close(found.flatten(0, 1), case[f"ctr{view}_f64"])


def test_golden_contrast(golden: Golden) -> None:
    case = golden("kernel_contrast")
    u1, v1, u2, v2 = (value.view(2, 5, 16) for value in tensors(case, "u1_f32", "v1_f32", "u2_f32", "v2_f32"))
    plain = contrastive_region_loss(u1, v1, u2, v2, temperature=0.1, normalise=True, stop_gradient=False)
    warm = contrastive_region_loss(u1, v1, u2, v2, temperature=1.0, normalise=True, stop_gradient=False)
    alone = contrastive_region_loss(v1, v1, v2, v2, temperature=0.1, normalise=True, stop_gradient=False)
    assert_close(plain.mean(), case["loss_f64"])
    assert_close(warm.mean(), case["loss_temp1.0_f64"])
    assert_close(alone.mean(), case["loss_nopred_f64"])


def test_golden_region_loss_end_to_end(golden: Golden) -> None:
    """Through both heads in training mode: values, gradients of all four inputs, and batch norm's buffers after."""
    case = golden("kernel_contrast")
    head = RegionHead(16, 16)
    state = {
        name.removeprefix("w.kernel_"): torch.from_numpy(value) for name, value in case.items() if name[:2] == "w."
    }
    head.load_state_dict(state, strict=True)
    names = ["z1", "z2", "feats_v1", "feats_v2"]
    z1, z2, features1, features2 = inputs = tensors(case, *names, learn=True)
    u1, v1 = head(z1, features1)
    u2, v2 = head(z2, features2)
    for name, found in {"u1": u1, "v1": v1, "u2": u2, "v2": v2}.items():
        assert_close(found.flatten(0, 1), case[f"{name}_f64"], 3e-5)
    loss = contrastive_region_loss(u1, v1, u2, v2, temperature=0.1, normalise=True, stop_gradient=False).mean()
    assert_close(loss, case["loss_f64"])
    loss.backward()
    for name, value in zip(names, inputs, strict=True):
        assert_close(value.grad, case[f"grad.{name}_f64"])
    assert_close(head.projector[0].weight.grad.norm(), case["gradnorm.kernel_projector.0.weight_f64"])
    after = {name.removeprefix("after.kernel_"): value for name, value in case.items() if name[:6] == "after."}
    found = head.state_dict()
    for name, value in after.items():
        if name.endswith("_f64"):
            assert_close(found[name.removesuffix("_f64")], value)
