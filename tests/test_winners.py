"""The winning channel is that of `argmax`, in every layout and dtype."""

import pytest
import torch
from torch import Tensor

from src.winners import winners

LOGITS = torch.randn((2, 5, 6, 7), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_they_are_those_of_argmax(dtype: torch.dtype, layout: torch.memory_format) -> None:
    logits = (3 * LOGITS).to(dtype).contiguous(memory_format=layout)
    expected = logits.float().argmax(1)
    assert torch.equal(winners(logits), expected)
    assert torch.equal(winners(logits.requires_grad_(dtype.is_floating_point)), expected)
    assert torch.equal(winners(logits.detach()[:1, :, 1:3, ::2]), expected[:1, 1:3, ::2])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_of_equal_ones_the_first_wins_and_nan_is_the_largest(layout: torch.memory_format) -> None:
    logits = torch.randint(0, 3, (2, 40, 8, 9), generator=torch.Generator().manual_seed(0)).float()
    logits[0, 7, 2, 3] = logits[0, 9, 2, 3] = torch.nan
    found = winners(logits.contiguous(memory_format=layout))
    for image, clusters in zip(logits, found, strict=True):
        for row in range(8):
            for column in range(9):
                values = image[:, row, column].tolist()
                nans = [place for place, value in enumerate(values) if value != value]
                assert clusters[row, column] == (nans[0] if nans else values.index(max(values)))


@pytest.mark.parametrize("rows", [torch.ones(4, 3), torch.eye(3), torch.eye(3)[:0]])
def test_rows_have_winners_as_well(rows: Tensor) -> None:
    assert torch.equal(winners(rows), rows.argmax(1))
