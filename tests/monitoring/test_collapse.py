"""What is measured of embeddings, against all rows at once."""

import pytest
import torch

from src.monitoring.collapse import BranchStatistics, effective_rank, even_rows, histogram_entropy, spread
from tests.embeddings import drawn, naive, seeded

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("variances", "expected"),
    [
        ([0.2] * 5, 5.0),
        ([1.0, 0.0, 0.0], 1.0),
        ([4.0, 2.0, 2.0], 2**1.5),  # entropy of 1/2, 1/4, 1/4: 1.5 bits
        ([1.0, -1e-17, 0.0], 1.0),  # rounding
        ([0.0, 0.0], 0.0),
    ],
)
def test_effective_rank_of_known_spectra(variances: list[float], expected: float) -> None:
    rotation = torch.linalg.qr(torch.randn(len(variances), len(variances), generator=seeded())).Q.double()
    covariance = rotation @ torch.diag(torch.tensor(variances, dtype=torch.float64)) @ rotation.T
    assert effective_rank(covariance) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("variances", "expected"), [([0.25] * 4, 1.0), ([1.0, 0.0, 0.0, 0.0], 0.5), ([0.01] * 4, 0.2), ([0.0] * 4, 0.0)]
)
def test_spread_is_relative_to_evenly_spread_rows(variances: list[float], expected: float) -> None:
    assert spread(torch.diag(torch.tensor(variances))) == pytest.approx(expected)


@pytest.mark.parametrize(("counts", "expected"), [([3, 3, 3], 1.0), ([0, 7, 0], 0.0), ([2, 2, 0, 0], 0.5)])
def test_histogram_entropy(counts: list[int], expected: float) -> None:
    assert histogram_entropy(torch.tensor(counts)) == pytest.approx(expected)


def test_even_rows_favour_no_image_and_no_point() -> None:
    images, points = torch.meshgrid(torch.arange(16), torch.arange(49), indexing="ij")
    view = torch.stack((images, points), dim=2)  # (B, P, 2)
    chosen = even_rows(view, 98)
    assert chosen.shape == (98, 2)
    assert set(chosen[:, 0].bincount().tolist()) == {5, 6, 7}
    assert chosen[:, 1].bincount().tolist() == [2] * 49
    assert sorted(even_rows(view, 10_000).tolist()) == view.flatten(0, 1).tolist()
    assert sorted(even_rows(view[:, 0], 10_000).tolist()) == view[:, 0].tolist()


def test_statistics_are_those_of_all_rows_of_all_steps() -> None:
    steps = [drawn(seed, images=5 + seed, points=9) for seed in range(4)]
    statistics = BranchStatistics(6, True, CPU)
    for views in steps:
        statistics.add(views, rows_per_view=1000)
    found = statistics.health(lambda value: value)
    expected = naive(steps)
    assert found._asdict() == pytest.approx(expected, rel=1e-5)
    assert found.dead_categories == 1


def test_a_small_variance_outlives_rounding() -> None:
    base, noise = torch.full((8,), 3.0), torch.randn(4, 64, 8, generator=seeded())
    steps = [(base + 1e-3 * each, base - 1e-3 * each) for each in noise]
    statistics = BranchStatistics(8, False, CPU)
    for views in steps:
        statistics.add(views, rows_per_view=1000)
    found = statistics.health(lambda value: value)
    assert found.spread == pytest.approx(naive(steps)["spread"], rel=1e-2)
    assert found.effective_rank == pytest.approx(7, abs=0.3)  # all directions but that of the mean
    assert found.category_entropy is None


def test_half_precision_is_counted_in_float32() -> None:
    half = [view.bfloat16() for view in drawn(0, 8, 9)]
    statistics = BranchStatistics(6, True, CPU)
    statistics.add(half, rows_per_view=1000)
    expected = naive([[view.float() for view in half]])
    assert statistics.health(lambda value: value)._asdict() == pytest.approx(expected, rel=1e-5)
