"""Sampling gives what torch's grid_sample gives, also where a feature is infinite."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd.graph import saved_tensors_hooks

from src.geometry import box_grid, sample_boxes
from tests.factories import noise

FULL, MIRRORED = [0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(7, 7), (12, 5)])
def test_sampling_is_that_of_grid_sample(size: tuple[int, int], layout: torch.memory_format) -> None:
    boxes = torch.tensor([[0.1, 0.2, 0.9, 0.7], MIRRORED, [1.2, 0.4, -0.3, 1.0]])
    features = noise(3, 4, 9, 8).contiguous(memory_format=layout)
    upstream = noise(3, 4, *size, seed=1)
    results = []
    for sample in (
        lambda x: sample_boxes(x, boxes, size),
        lambda x: F.grid_sample(x, 2 * box_grid(boxes, size) - 1, padding_mode="border", align_corners=False),
    ):
        x = features.clone().requires_grad_()
        found = sample(x)
        (found * upstream).sum().backward()
        results.append((found.detach(), x.grad))
    torch.testing.assert_close(*results, atol=4e-6, rtol=0)


def test_an_infinite_feature_stays_where_it_is() -> None:
    """Only the points between its centre and the next ones may be lost, as with grid_sample."""
    boxes = torch.tensor([[0.1, 0.2, 0.9, 0.7]])
    features = noise(1, 2, 20, 20)
    features[0, 1, 8, 9] = torch.inf
    found = sample_boxes(features, boxes, (20, 20))
    expected = F.grid_sample(features, 2 * box_grid(boxes, (20, 20)) - 1, padding_mode="border", align_corners=False)
    assert 0 < (~expected.isfinite()).sum() < 20
    assert found.isfinite().equal(expected.isfinite())


def test_a_wide_map_takes_no_more_work_per_point() -> None:
    """Two products, of rows and of columns, were cubic in the side. What is kept counts the work: cells and weights."""

    def kept_per_point(side: int) -> float:
        kept = list[int]()
        features = noise(1, 2, side, side).requires_grad_()
        with saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()), lambda _: None):
            sample_boxes(features, torch.tensor([[0.1, 0.2, 0.9, 0.7]]), (side, side))
        return sum(kept) / side**2

    assert kept_per_point(64) == kept_per_point(16) <= 12


def test_whole_views_of_the_same_size_are_not_computed() -> None:
    features = noise(2, 3, 4, 5)
    assert sample_boxes(features, torch.tensor([FULL, FULL]), (4, 5)) is features
    assert sample_boxes(features, torch.tensor([FULL, MIRRORED]), (4, 5)) is not features
    assert sample_boxes(features, torch.tensor([FULL, FULL]), (5, 4)) is not features
