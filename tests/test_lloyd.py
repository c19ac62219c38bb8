"""Lloyd's k-means: its quality beside scikit-learn's, and the rules of one iteration."""

from statistics import median

import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor

from src import lloyd
from src.lloyd import fit_lloyd, iterate


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mixture(number: int) -> Tensor:
    """Rows (number, 8) of twelve blobs that overlap."""
    corners = 2 * torch.randn(12, 8, generator=seeded())
    return corners[torch.randint(12, (number,), generator=seeded(1))] + torch.randn(number, 8, generator=seeded(2))


def inertia(rows: Tensor, centroids: Tensor) -> float:
    return torch.cdist(rows, centroids).min(1).values.square().sum().item()


@pytest.mark.parametrize("rows_per_cluster", [100, 1000])
def test_it_is_nearly_as_good_as_the_best_of_ten_full_runs(
    rows_per_cluster: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lloyd, "FIRST_ROWS", rows_per_cluster)
    monkeypatch.setattr(lloyd, "ROWS", rows_per_cluster)
    rows = mixture(4000)
    best = KMeans(10, n_init=10, random_state=0).fit(rows.numpy()).inertia_
    found = [inertia(rows, fit_lloyd(rows, 10, seeded(seed))) for seed in range(5)]
    assert best <= min(found) * (1 + 1e-5)
    assert median(found) <= 1.02 * best


def test_more_rows_improve_the_best_start(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = mixture(4000)
    monkeypatch.setattr(lloyd, "FIRST_ROWS", 5)
    with_more = inertia(rows, fit_lloyd(rows, 10, seeded()))
    monkeypatch.setattr(lloyd, "ROWS", 5)
    assert with_more < 0.9 * inertia(rows, fit_lloyd(rows, 10, seeded()))


def test_an_iteration_takes_the_means() -> None:
    rows = torch.tensor([[0.0], [2.0], [10.0], [12.0]])
    fitted = iterate(rows, torch.tensor([[0.0], [2.0]]), seeded())
    assert fitted.centroids.flatten().tolist() == [1, 11]
    assert fitted.inertia == 4


def test_a_centroid_without_rows_gets_one() -> None:
    rows = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
    fitted = iterate(rows, torch.tensor([[5.0], [900.0]]), seeded())
    assert sorted(fitted.centroids.flatten().tolist()) == [0.5, 10.5]


def test_equal_rows_are_no_problem() -> None:
    assert fit_lloyd(torch.ones(50, 3), 4, seeded()).tolist() == [[1, 1, 1]] * 4


def test_an_iteration_of_spherical_k_means_takes_directions_of_means() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    fitted = iterate(rows, torch.tensor([[1.0, 0.0], [0.0, -1.0]]), seeded(), spherical=True)
    torch.testing.assert_close(
        fitted.centroids, torch.tensor([[2.0, 1.0], [0.0, -1.0]]) / torch.tensor([[5**0.5], [1]])
    )


def test_spherical_k_means_finds_directions() -> None:
    rows = F.normalize(mixture(2000), dim=1)
    found = fit_lloyd(rows, 10, seeded(), spherical=True)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(10))
    nearest = (rows @ found.T).argmax(1)
    means = torch.stack([rows[nearest == cluster].mean(0) for cluster in range(10)])
    assert (F.cosine_similarity(means, found) > 0.999).all()
