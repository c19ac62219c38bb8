"""Eq. 1-6 and L_seg against obvious loops and hand-computed values, in half precision too."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from src.losses import (
    DISTANCES,
    balanced_weights,
    category_counts,
    category_weights,
    contrastive_distance,
    contrastive_region_loss,
    cosine_distance,
    cross_entropy_distance,
    printed_cross_entropy_distance,
    region_embeddings,
    segmentation_loss,
    similarity_loss,
)
from tests import naive
from tests.comparing import assert_close
from tests.factories import noise


def rows(image: Tensor) -> list[list[float]]:
    """(C, ...) -> one row per position."""
    return image.flatten(1).T.tolist()


# Loops.


@pytest.mark.parametrize("name", sorted(DISTANCES))
@pytest.mark.parametrize("shape", [(3, 4, 2, 5), (2, 5, 7), (1, 2, 1, 1)])
def test_similarity_equals_the_loop(name: str, shape: tuple[int, ...]) -> None:
    p1, z1, p2, z2 = (noise(*shape, seed=seed) for seed in range(4))
    found = similarity_loss(p1, z1, p2, z2, DISTANCES[name], stop_gradient=True)
    loop = getattr(naive, f"{name}_distance")
    images = zip(p1, z1, p2, z2, strict=True)
    assert found.tolist() == pytest.approx(
        [naive.similarity_loss(*map(rows, image), loop) for image in images], abs=1e-5
    )


def test_region_embeddings_equal_the_loop() -> None:
    z, features = noise(2, 4, 3, 5), noise(2, 6, 3, 5, seed=1)
    expected = [naive.region_embeddings(rows(a), rows(b)) for a, b in zip(z, features, strict=True)]
    assert_close(region_embeddings(z, features), torch.tensor(expected))


@pytest.mark.parametrize(("temperature", "normalise"), [(0.1, True), (1.0, True), (1.0, False), (2.5, False)])
def test_contrast_equals_the_loop(temperature: float, normalise: bool) -> None:
    u1, v1, u2, v2 = (noise(3, 4, 6, seed=seed, scale=1) for seed in range(4))
    found = contrastive_region_loss(u1, v1, u2, v2, temperature, normalise, stop_gradient=False)
    expected = []
    for a1, b1, a2, b2 in zip(u1.tolist(), v1.tolist(), u2.tolist(), v2.tolist(), strict=True):
        first = naive.contrastive_distance(a1, b2, temperature, normalise)
        second = naive.contrastive_distance(a2, b1, temperature, normalise)
        expected.append((first + second) / 2)
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("shape", [(3, 4, 2, 5), (2, 6, 7)])
def test_segmentation_loss_equals_the_loop(shape: tuple[int, ...]) -> None:
    z, weights = noise(*shape), torch.linspace(0, 2, shape[1])
    expected = [naive.segmentation_loss(rows(image), weights.tolist()) for image in z]
    assert segmentation_loss(z, weights).tolist() == pytest.approx(expected, abs=1e-5)


# By hand.


@pytest.mark.parametrize(
    ("p", "z", "expected"),
    [([1, 0], [0, 3], 0), ([1, 2], [-2, -4], 1), ([1, 2], [10, 20], -1), ([1, 0], [1, 1], -math.sqrt(0.5))],
)
def test_cosine_by_hand(p: list[float], z: list[float], expected: float) -> None:
    found = cosine_distance(torch.tensor([p], dtype=torch.float32), torch.tensor([z], dtype=torch.float32))
    assert found.tolist() == pytest.approx([expected], abs=1e-6)


def test_cross_entropy_by_hand() -> None:
    uniform, certain = torch.zeros(1, 4), torch.tensor([[30.0, 0, 0, 0]])
    assert cross_entropy_distance(uniform, uniform).item() == pytest.approx(math.log(4))
    assert cross_entropy_distance(uniform, certain).item() == pytest.approx(math.log(4))
    assert cross_entropy_distance(certain, certain).item() == pytest.approx(0, abs=1e-6)
    # target (3/4, 1/4), prediction (1/4, 3/4)
    z, p = torch.tensor([[math.log(3), 0]]), torch.tensor([[0, math.log(3)]])
    assert cross_entropy_distance(p, z).item() == pytest.approx(0.75 * math.log(4) + 0.25 * math.log(4 / 3))


def test_the_printed_form_of_eq_3_takes_the_logarithm_of_the_target() -> None:
    uniform, certain = torch.zeros(1, 4), torch.tensor([[30.0, 0, 0, 0]])
    assert printed_cross_entropy_distance(uniform, certain).item() == pytest.approx(30 * 3 / 4)
    assert cross_entropy_distance(uniform, certain).item() == pytest.approx(math.log(4))


def test_similarity_weighs_both_directions_alike_and_averages_positions() -> None:
    """View 1 predicts the opposite at one of two positions (1 and -1), view 2 is right at both (-1)."""
    z1 = z2 = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    p1, p2 = torch.tensor([[[-1.0, 1.0], [0.0, 0.0]]]), z1
    assert similarity_loss(p1, z1, p2, z2, cosine_distance, True).tolist() == [-0.5]
    assert similarity_loss(p2, z2, p1, z1, cosine_distance, True).tolist() == [-0.5]


@pytest.mark.parametrize("normalise", [True, False])
def test_contrast_of_identical_regions_is_log_n(normalise: bool) -> None:
    same = torch.tensor([1.0, 2.0, 3.0]).expand(2, 5, 3)
    found = contrastive_distance(same, same, 0.1, normalise)
    assert found.tolist() == pytest.approx([math.log(5)] * 2, abs=1e-5)


def test_contrast_of_orthogonal_regions_by_hand() -> None:
    """Similarity 1 on the diagonal and 0 elsewhere once normalised: log(1 + (N - 1) / e^(1 / t))."""
    u, v = 3 * torch.eye(4)[None], 7 * torch.eye(4)[None]
    assert contrastive_distance(u, v, 0.5, True).item() == pytest.approx(math.log(1 + 3 * math.exp(-2)))
    assert contrastive_distance(u / 3, v, 7.0, False).item() == pytest.approx(math.log(1 + 3 * math.exp(-1)))


def test_contrast_compares_with_regions_of_the_same_image_only() -> None:
    u, v = noise(3, 4, 6), noise(3, 4, 6, seed=1)
    together = contrastive_distance(u, v, 0.1, True)
    assert_close(together, torch.cat([contrastive_distance(u[k : k + 1], v[k : k + 1], 0.1, True) for k in range(3)]))


def test_region_embeddings_by_hand() -> None:
    """Two positions: the first is shared evenly, the second belongs to category 1 alone."""
    z = torch.tensor([[0.0, -50.0], [0.0, 50.0]]).view(1, 2, 1, 2)
    features = torch.tensor([[2.0, 5.0]]).view(1, 1, 1, 2)
    assert_close(region_embeddings(z, features), torch.tensor([[[1.0], [6.0]]]))


def test_segmentation_loss_by_hand() -> None:
    z = torch.tensor([[math.log(3), 0.0], [0.0, 0.0], [-50.0, math.log(2)]]).view(1, 3, 2)
    # winners 0 with 3/4 and 2 with 1/2, weighed 2 and 10, divided by the positions and not by the weights
    found = segmentation_loss(z, torch.tensor([2.0, 99.0, 10.0]))
    assert found.item() == pytest.approx((2 * math.log(4 / 3) + 10 * math.log(2)) / 2)


def test_category_counts_leave_out_invalid_images() -> None:
    z = torch.nn.functional.one_hot(torch.tensor([[0, 0, 2], [1, 1, 1], [2, 2, 0]]), 5).mT.float()
    counts = category_counts(z, torch.tensor([True, False, True]))
    assert counts.dtype == torch.float32
    assert counts.tolist() == [3, 0, 3, 0, 0]
    assert category_counts(z, torch.ones(3, dtype=torch.bool)).tolist() == [3, 3, 3, 0, 0]
    assert category_counts(z, torch.zeros(3, dtype=torch.bool)).tolist() == [0] * 5


def test_category_weights_by_hand() -> None:
    counts = torch.tensor([6.0, 0.0, 2.0, 0.0])
    assert category_weights(counts, "frequency").tolist() == [0.75, 0, 0.25, 0]
    assert category_weights(counts, "inverse").tolist() == pytest.approx([2 / 3, 0, 2, 0])
    assert category_weights(counts, "none").tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("seed", range(5))
def test_category_weights_sum_and_average_to_one(seed: int) -> None:
    counts = torch.randint(0, 40, (9,), generator=torch.Generator().manual_seed(seed)).float()
    counts[seed] = 0
    frequency, inverse = category_weights(counts, "frequency"), category_weights(counts, "inverse")
    assert frequency.sum().item() == pytest.approx(1)
    assert ((counts * inverse).sum() / counts.sum()).item() == pytest.approx(1)
    contributions = (counts * inverse)[counts > 0]
    assert_close(contributions, contributions[0].item())  # every category contributes alike
    assert frequency[seed] == inverse[seed] == 0


@pytest.mark.parametrize("weighting", ["frequency", "inverse"])
def test_no_positions_weigh_nothing(weighting: str) -> None:
    assert category_weights(torch.zeros(3), weighting).tolist() == [0, 0, 0]


def test_balanced_weights() -> None:
    assert balanced_weights(27, 128) == pytest.approx((0.5954969793, 0.4045030207), abs=1e-10)
    assert balanced_weights(128, 27) == pytest.approx((0.4045030207, 0.5954969793), abs=1e-10)
    assert balanced_weights(10, 10) == (0.5, 0.5)
    assert sum(balanced_weights(3, 1000)) == pytest.approx(1)


# Half precision.

CALLS: dict[str, tuple[Callable[..., Tensor], list[Tensor]]] = {
    **{name: (call, [noise(2, 9, 4, 4), noise(2, 9, 4, 4, seed=1)]) for name, call in DISTANCES.items()},
    "regions": (region_embeddings, [noise(2, 5, 8, 8), noise(2, 16, 8, 8, seed=1)]),
    "contrast": (
        lambda u, v: contrastive_distance(u, v, 0.1, True),
        [noise(2, 5, 16), noise(2, 5, 16, seed=1)],
    ),
    "plain contrast": (
        lambda u, v: contrastive_distance(u, v, 1.0, False),
        [noise(2, 5, 16), noise(2, 5, 16, seed=1)],
    ),
    "segmentation": (lambda z: segmentation_loss(z, torch.linspace(0, 2, 9)), [noise(2, 9, 4, 4)]),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_everything_is_computed_in_float32(name: str, dtype: torch.dtype, autocast: bool) -> None:
    """Half precision costs what rounding the inputs costs, and autocast nothing."""
    call, inputs = CALLS[name]
    rounded = [value.to(dtype) for value in inputs]
    expected = call(*(value.float() for value in rounded))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        found = call(*rounded)
    assert found.dtype == torch.float32
    assert_close(found, expected, 1e-6)


@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_gradients_are_those_of_float32(autocast: bool) -> None:
    inputs = [noise(2, 5, 6, 6, seed=seed).bfloat16() for seed in range(4)]
    gradients = []
    for dtype, enabled in ((torch.float32, False), (torch.bfloat16, autocast)):
        z1, f1, z2, f2 = leaves = [value.to(dtype).requires_grad_() for value in inputs]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            e1, e2 = region_embeddings(z1, f1), region_embeddings(z2, f2)
            loss = contrastive_region_loss(e1, e1, e2, e2, 0.1, True, stop_gradient=False)
            loss = loss + similarity_loss(z1, f1, z2, f2, cross_entropy_distance, stop_gradient=False)
            loss = loss + segmentation_loss(z1, torch.ones(5))
        loss.sum().backward()
        gradients.append([value.grad.float() for value in leaves])
    for exact, found in zip(*gradients, strict=True):
        assert_close(found, exact, 2e-2)


def test_region_sums_beyond_half_precision() -> None:
    """6,400 cells of value 100 sum to 640,000, which float16 can't hold."""
    found = region_embeddings(torch.zeros(1, 2, 80, 80).half(), torch.full((1, 1, 80, 80), 100.0).half())
    assert_close(found, 320_000.0)
