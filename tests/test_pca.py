"""Principal components against an eigendecomposition and by hand."""

import pytest
import torch

from src.errors import DenseSiamError
from src.pca import principal_components


def test_axes_are_the_eigenvectors_of_the_covariance() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(400, 6, generator=generator) @ torch.randn(6, 6, generator=generator) + 3
    mean, axes = principal_components(rows, 4)
    torch.testing.assert_close(mean, rows.mean(0))
    values, vectors = torch.linalg.eigh(rows.double().T.cov())
    expected = vectors.T.flip(0)[:4].float()
    assert values.flip(0)[:4].diff().max() < -0.1  # apart, so that the axes are unique but for their signs
    torch.testing.assert_close((axes @ expected.T).abs(), torch.eye(4), atol=1e-4, rtol=0)


def test_a_line_by_hand() -> None:
    """Points along (3, 4) around (1, 1): the first axis is (0.6, 0.8), up to its sign."""
    rows = 1 + torch.tensor([-2.0, -1.0, 1.0, 2.0])[:, None] * torch.tensor([[3.0, 4.0]])
    mean, axes = principal_components(rows, 1)
    torch.testing.assert_close(mean, torch.ones(2))
    torch.testing.assert_close(axes.abs(), torch.tensor([[0.6, 0.8]]))


def test_nothing_in_it_is_random() -> None:
    rows = torch.randn(50, 5, generator=torch.Generator().manual_seed(1))
    first, again = principal_components(rows, 3), principal_components(rows, 3)
    assert torch.equal(first[1], again[1])


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DenseSiamError, match="more than 4 feature rows for 4 principal components, found 4"):
        principal_components(torch.randn(4, 9), 4)
