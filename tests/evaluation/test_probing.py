"""The linear probe against scikit-learn, obvious loops and values worked out by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from src.evaluation.probing import Cells, LinearProbe, cell_targets, choose_l2, fit_linear, sample_cells
from tests.refusals import refusal


def seeded(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def hard(count: int = 400, seed: int = 0) -> Cells:
    """Rows of 6 channels of very different scales, and a noisy class of three for each."""
    features = seeded((count, 6), seed)
    classes = (features @ seeded((6, 3), 9) + seeded((count, 3), seed + 1)).argmax(dim=1)
    shifted = features * torch.tensor([1, 1e-2, 50, 1, 3, 1e3]) + torch.tensor([0, 1, -90, 4, 0, 2e3])
    return Cells(shifted, torch.eye(3)[classes], torch.ones(count))


def logits(probe: LinearProbe, rows: Tensor) -> Tensor:
    """(M, C) -> (M, K)."""
    return probe(rows.T[None, :, :, None])[0, :, :, 0].T


@pytest.mark.parametrize(("height", "width"), [(8, 12), (9, 13)])
def test_targets_equal_the_loop(height: int, width: int) -> None:
    """A cell i of h covers rows floor(i H / h) to ceil((i + 1) H / h), as in adaptive pooling."""
    labels = torch.randint(0, 3, (2, height, width), generator=torch.Generator().manual_seed(0))
    labels[0, :4, :4], labels[1, 3] = 255, 255
    shares, weight = cell_targets(labels, (4, 4), 3)
    assert (shares.shape, weight.shape, shares.dtype, weight.dtype) == ((2, 4, 4, 3), (2, 4, 4), *[torch.float32] * 2)
    for image, i, j in np.ndindex(2, 4, 4):
        rows = slice(i * height // 4, math.ceil((i + 1) * height / 4))
        columns = slice(j * width // 4, math.ceil((j + 1) * width / 4))
        pixels = labels[image, rows, columns].flatten().tolist()
        counted = [value for value in pixels if value != 255]
        expected = [counted.count(k) / max(1, len(counted)) for k in range(3)]
        assert shares[image, i, j].tolist() == pytest.approx(expected)
        assert weight[image, i, j].item() == pytest.approx(len(counted) / len(pixels))
    assert weight[0, 0, 0] == 0


def test_targets_by_hand() -> None:
    """Halves of 1 x 4 pixels: one 0 beside a 1, and a 1 beside an ignored pixel."""
    shares, weight = cell_targets(torch.tensor([[[0, 1, 1, 255]]]), (1, 2), 2)
    assert shares.tolist() == [[[[0.5, 0.5], [0.0, 1.0]]]]
    assert weight.tolist() == [[[1.0, 0.5]]]


def test_cells_keep_features_and_targets_of_one_place_together() -> None:
    labels = torch.randint(0, 4, (3, 5, 6), generator=torch.Generator().manual_seed(0))
    labels[:, 0] = 255
    features = torch.stack([labels, torch.arange(30).view(5, 6).expand(3, 5, 6)], dim=1).bfloat16()
    cells = sample_cells(features, labels, 4, 20, torch.Generator().manual_seed(0))
    assert (cells.features.shape, cells.shares.shape, cells.weight.shape) == ((60, 2), (60, 4), (60,))
    assert {part.dtype for part in cells} == {torch.float32}
    for (label, place), shares, weight in zip(cells.features.tolist(), cells.shares, cells.weight, strict=True):
        assert weight == (place >= 6)
        assert shares.tolist() == [float(k == label) for k in range(4)]
    assert all(len(set(places.tolist())) == 20 for places in cells.features[:, 1].split(20))
    assert len(sample_cells(features, labels, 4, 999, torch.Generator()).weight) == 90


@pytest.mark.parametrize("l2", [1e-3, 1e-1])
def test_hard_labels_equal_scikit_learn(l2: float) -> None:
    """Its C weighs the sum over the rows, our l2 their mean."""
    cells = hard()
    rows = cells.features.double().numpy()
    standard = (rows - rows.mean(0)) / rows.std(0)
    theirs = LogisticRegression(C=1 / (l2 * len(rows)), tol=1e-10, max_iter=5000)
    theirs.fit(standard, cells.shares.argmax(dim=1).numpy())
    ours = logits(fit_linear(cells, l2, 500), cells.features).softmax(dim=1)
    np.testing.assert_allclose(ours, theirs.predict_proba(standard), atol=2e-4)


def test_soft_targets_and_weights_equal_repeated_rows() -> None:
    """A cell of 3/4 class 0 and 1/4 class 1 is four rows; a weight of 1/2 is one row of two."""
    features = seeded((30, 4))
    shares = torch.eye(2)[torch.randint(0, 2, (30,), generator=torch.Generator().manual_seed(1))]
    shares[::3] = torch.tensor([0.75, 0.25])
    repeated = (
        torch.cat([features] * 4),
        torch.cat([torch.eye(2)[(shares[:, 1] > step).long()] for step in (0, 0.3, 0.5, 0.8)]),
    )
    soft = fit_linear(Cells(features, shares, torch.ones(30)), 0.1, 200)
    alike = fit_linear(Cells(*repeated, torch.ones(120)), 0.1, 200)
    torch.testing.assert_close(soft.weight, alike.weight, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(soft.bias, alike.bias, atol=1e-4, rtol=1e-4)
    halves = fit_linear(
        Cells(torch.cat([features, features]), torch.cat([shares, shares]), torch.full((60,), 0.5)), 0.1, 200
    )
    torch.testing.assert_close(soft.weight, halves.weight, atol=1e-4, rtol=1e-4)


def test_units_of_a_channel_do_not_matter() -> None:
    cells = hard()
    moved = cells._replace(features=cells.features * 2.0 ** torch.arange(-3, 3) + torch.arange(6))
    first, second = (logits(fit_linear(each, 0.01, 300), each.features) for each in (cells, moved))
    torch.testing.assert_close(first, second, atol=2e-3, rtol=1e-3)


def test_what_is_not_counted_does_not_matter() -> None:
    cells, other = hard(200), hard(50, seed=5)
    blank = Cells(other.features.fill_(torch.nan), torch.zeros(50, 3), torch.zeros(50))
    joined = Cells(*(torch.cat(parts) for parts in zip(cells, blank, strict=True)))
    first, second = fit_linear(cells, 0.01, 300), fit_linear(joined, 0.01, 300)
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)


def test_a_separable_map_is_solved() -> None:
    labels = torch.zeros(4, 8, 8, dtype=torch.int64)
    labels[:, 4:], labels[:, :, 6:] = 1, 2
    colours = torch.tensor([[0.1, 0.0], [0.2, 0.1], [0.1, 0.3]])[labels].permute(0, 3, 1, 2)
    features = colours + 0.01 * seeded((4, 2, 8, 8))
    cells = sample_cells(features[:3], labels[:3], 3, 40, torch.Generator().manual_seed(0))
    probe = fit_linear(cells, 1e-4, 200)
    assert probe(features).shape == (4, 3, 8, 8)
    assert torch.equal(probe(features).argmax(dim=1), labels)


def test_features_that_do_not_vary_leave_the_frequencies() -> None:
    """A collapsed encoder: nothing to read but how often each class occurs."""
    features = torch.full((8, 3), 4096.1)
    shares = torch.eye(2)[[0, 0, 0, 0, 0, 0, 1, 1]]
    probe = fit_linear(Cells(features, shares, torch.ones(8)), 0.01, 100)
    assert probe.weight.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert probe.bias.softmax(dim=0).tolist() == pytest.approx([0.75, 0.25], abs=1e-5)


def test_two_fits_are_equal_and_the_order_of_images_is_rounding() -> None:
    features, labels = seeded((5, 3, 4, 4)), torch.randint(0, 3, (5, 8, 8), generator=torch.Generator().manual_seed(0))
    order = torch.tensor([3, 0, 4, 1, 2])
    everything = [
        sample_cells(features[images], labels[images], 3, 16, torch.Generator().manual_seed(0))
        for images in (torch.arange(5), torch.arange(5), order)
    ]
    first, again, permuted = (fit_linear(cells, 0.01, 200) for cells in everything)
    assert torch.equal(first.weight, again.weight)
    assert torch.equal(first.bias, again.bias)
    torch.testing.assert_close(first.weight, permuted.weight, atol=1e-5, rtol=1e-5)


def test_it_can_be_fitted_while_validating() -> None:
    expected = fit_linear(hard(100), 0.01, 100)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        cells = hard(100)
        found = fit_linear(cells._replace(features=cells.features.clone()), 0.01, 100)
        assert logits(found, cells.features).dtype == torch.float32
    assert torch.equal(found.weight, expected.weight)
    assert not found.weight.requires_grad


def test_what_can_not_be_fitted_is_refused() -> None:
    cells = hard(10)
    refusal(lambda: fit_linear(cells._replace(weight=torch.zeros(10)), 0.01, 10), "found none among 10", "255")
    cells.features[[2, 7], 1] = torch.inf
    refusal(lambda: fit_linear(cells, 0.01, 10), "found 2 of 10 rows", "check the checkpoint")


def test_the_probe_is_saved_but_not_trained() -> None:
    probe = fit_linear(hard(50), 0.01, 20)
    assert list(probe.parameters()) == []
    other = LinearProbe(torch.zeros(3, 6), torch.zeros(3))
    other.load_state_dict(probe.state_dict())
    assert torch.equal(logits(other, hard().features), logits(probe, hard().features))


def test_the_l2_that_scores_best_on_held_out_images_is_taken() -> None:
    """Few cells and many channels of noise: a weak penalty fits the noise, a strong one nothing at all."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 2, (200,), generator=generator)
    features = torch.randn(200, 60, generator=generator)
    features[:, 0] += 2.5 * truth
    cells = Cells(features, F.one_hot(truth, 2).float(), torch.ones(200))

    def held_out_iou(l2: float) -> float:
        probe = fit_linear(Cells(*(part[:150] for part in cells)), l2, 100)
        found = probe(features[150:].mT[None, :, :, None]).argmax(1).flatten()
        masks = [(found == k, truth[150:] == k) for k in range(2)]
        return sum(((one & other).sum() / (one | other).sum()).item() for one, other in masks) / 2

    weak, middle, strong = (held_out_iou(l2) for l2 in (1e-6, 0.1, 100.0))
    assert strong < weak < middle
    assert choose_l2(cells, [1e-6, 0.1, 100.0], 100) == 0.1
    assert choose_l2(cells, [7.0], 100) == 7.0
