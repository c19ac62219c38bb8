"""k-means on dense features against known blobs and an obvious loop."""

import sys
from typing import get_args

import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from src.clustering import Backend, NearestCentroid, fit_centroids, sample_pixels
from src.errors import DenseSiamError
from tests import naive


def blobs(per_blob: int) -> tuple[Tensor, Tensor]:
    """Rows around three far corners: (3 * per_blob, 4), and the corners (3, 4)."""
    corners = torch.tensor([[0.0, 0, 0, 0], [10, 0, 0, 5], [0, 10, -5, 0]])
    noise = torch.randn(3 * per_blob, 4, generator=torch.Generator().manual_seed(0))
    return corners.repeat_interleave(per_blob, dim=0) + 0.1 * noise, corners


@pytest.mark.parametrize("backend", get_args(Backend))
def test_centroids_find_the_blobs(backend: Backend) -> None:
    rows, corners = blobs(200)
    centroids = fit_centroids(rows, 3, seed=0, backend=backend)
    assert centroids.shape == (3, 4)
    assert centroids.dtype == torch.float32
    distances, nearest = torch.cdist(corners, centroids).min(dim=1)
    assert sorted(nearest.tolist()) == [0, 1, 2]
    assert distances.max() < 0.1


BACKENDS = get_args(Backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_seed_fixes_the_centroids(backend: Backend) -> None:
    rows = torch.randn(500, 6, generator=torch.Generator().manual_seed(0))
    first, again, other = (fit_centroids(rows, 8, seed, backend) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_find_what_scikit_learns_full_k_means_finds(backend: Backend) -> None:
    """On overlapping blobs mini-batches come within 2 % of the sum of squares that Lloyd's algorithm reaches."""
    generator = torch.Generator().manual_seed(1)
    corners = 3 * torch.randn(6, 5, generator=generator)
    rows = corners.repeat_interleave(300, dim=0) + torch.randn(1800, 5, generator=generator)
    reference = KMeans(6, n_init=10, random_state=0).fit(rows.numpy()).inertia_
    centroids = fit_centroids(rows, 6, seed=0, backend=backend)
    found = torch.cdist(rows, centroids).min(dim=1).values.square().sum().item()
    assert reference <= found * (1 + 1e-5)
    assert found <= 1.02 * reference


def test_an_unknown_or_absent_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DenseSiamError, match=r"clustering\.backend is 'cuml': choose one of torch, sklearn, faiss"):
        fit_centroids(torch.zeros(4, 2), 2, seed=0, backend="cuml")
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(DenseSiamError, match=r"pip install 'densesiam\[faiss\]'"):
        fit_centroids(torch.randn(4, 2), 2, seed=0, backend="faiss")


def test_features_of_a_network_are_taken_as_they_come() -> None:
    rows = blobs(20)[0].to(torch.bfloat16).requires_grad_()
    assert not fit_centroids(rows, 3, seed=0).requires_grad


def test_too_few_or_broken_rows_are_refused() -> None:
    with pytest.raises(DenseSiamError, match="at least 5 feature rows for 5 clusters, found 4"):
        fit_centroids(torch.zeros(4, 2), 5, seed=0)
    rows = torch.zeros(10, 2)
    rows[3, 1] = torch.nan
    with pytest.raises(DenseSiamError, match="1 of 10 rows"):
        fit_centroids(rows, 2, seed=0)


def test_sampled_pixels_are_distinct_pixels_of_their_image() -> None:
    batch, height, width = 3, 4, 5
    image = torch.arange(batch).view(batch, 1, 1, 1).expand(batch, 1, height, width)
    place = torch.arange(height * width).view(1, 1, height, width).expand(batch, 1, height, width)
    rows = sample_pixels(torch.cat([image, place, -place], dim=1), 7, torch.Generator().manual_seed(0))
    assert rows.shape == (batch * 7, 3)
    assert rows[:, 0].tolist() == [k for k in range(batch) for _ in range(7)]
    assert torch.equal(rows[:, 1], -rows[:, 2])  # the channels of a row belong to one pixel
    for places in rows[:, 1].split(7):
        assert len(set(places.tolist())) == 7
    everything = sample_pixels(image, height * width, torch.Generator().manual_seed(0))
    assert len(everything) == batch * height * width


def test_sampling_follows_its_generator() -> None:
    features = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    first, again, other = (sample_pixels(features, 5, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("per_image", [0, 13])
def test_a_sample_larger_than_the_image_is_refused(per_image: int) -> None:
    with pytest.raises(DenseSiamError, match=rf"expected 1\.\.12 .*found {per_image}"):
        sample_pixels(torch.zeros(1, 2, 3, 4), per_image, torch.Generator())


def test_nearest_centroid_equals_the_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    centroids, features = torch.randn(5, 3, generator=generator), torch.randn(2, 3, 4, 6, generator=generator)
    logits = NearestCentroid(centroids)(features)
    assert logits.shape == (2, 5, 4, 6)
    pixels = features.permute(0, 2, 3, 1).reshape(-1, 3)
    expected = [naive.nearest(pixel, centroids.tolist()) for pixel in pixels.tolist()]
    assert logits.argmax(dim=1).flatten().tolist() == expected


def test_nearest_centroid_by_hand() -> None:
    """Centroids 0 and 2 on a line have mean 1; at x = 3 the logits are 2 (-1) 2 - 1 and 2 (1) 2 - 1."""
    logits = NearestCentroid(torch.tensor([[0.0], [2.0]]))(torch.full((1, 1, 1, 1), 3.0))
    assert logits.flatten().tolist() == [-5.0, 3.0]


def test_nearest_centroid_keeps_small_differences_of_large_features() -> None:
    centroids = torch.tensor([[4096.0, 4096.0], [4096.5, 4096.0]])
    features = torch.tensor([4096.0, 4096.125, 4096.375, 4096.5]).view(1, 1, 1, 4).repeat(1, 2, 1, 1)
    features[:, 1] = 4096.0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert NearestCentroid(centroids)(features).argmax(dim=1).flatten().tolist() == [0, 0, 1, 1]


def test_centroids_are_saved_but_not_trained() -> None:
    module = NearestCentroid(torch.eye(3))
    assert list(module.parameters()) == []
    assert set(module.state_dict()) == {"centroids"}
    other = NearestCentroid(torch.zeros(3, 3))
    other.load_state_dict(module.state_dict())
    assert torch.equal(other.centroids, torch.eye(3))
