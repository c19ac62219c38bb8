"""The tests of this folder need a GPU: `python -m pytest tests/gpu -m gpu`."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def gpu() -> Iterator[str]:
    """Lightning's name of the GPU; float32 is computed exactly. Skips where there is none."""
    if not torch.cuda.is_available():
        pytest.skip("torch finds no GPU")
    precision, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    yield "gpu"
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = convolutions
