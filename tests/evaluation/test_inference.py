"""Label maps from logits."""

import pytest
import torch
from torch import Tensor

from src.evaluation.inference import mirror_averaged, predict_labels
from tests import naive


@pytest.mark.parametrize("size", [(9, 12), (5, 4), (3, 4), (2, 2)])
def test_labels_equal_the_loop(size: tuple[int, int]) -> None:
    logits = torch.randn((2, 5, 3, 4), generator=torch.Generator().manual_seed(0))
    found = predict_labels(logits, size)
    assert found.shape == (2, *size)
    assert found.dtype == torch.int64
    for image, labels in zip(logits.tolist(), found.tolist(), strict=True):
        planes = naive.sample_box(image, (0, 0, 1, 1), size)
        for row in range(size[0]):
            for column in range(size[1]):
                values = [plane[row][column] for plane in planes]
                assert labels[row][column] == values.index(max(values))


def test_logits_are_upsampled_before_the_winner_is_taken() -> None:
    """Category 1 wins nowhere on the coarse map, but in the middle between a sure 0 and a sure 2."""
    logits = torch.tensor([[9.0, -9.0], [4.0, 4.0], [-9.0, 9.0]]).view(1, 3, 1, 2)
    assert logits.argmax(1).flatten().tolist() == [0, 2]
    assert predict_labels(logits, (1, 8)).flatten().tolist() == [0, 0, 0, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_upsampled_in_float32(dtype: torch.dtype) -> None:
    logits = (100 + torch.randn((1, 3, 4, 4), generator=torch.Generator().manual_seed(0))).to(dtype)
    assert torch.equal(predict_labels(logits, (32, 32)), predict_labels(logits.float(), (32, 32)))
    low = torch.nn.functional.interpolate(logits, (32, 32), mode="bilinear").argmax(1)
    assert not torch.equal(low, predict_labels(logits, (32, 32)))  # so that the comparison above can fail


def sloped(images: Tensor) -> Tensor:
    """Two channels at half the size that know left from right: each cell's first pixel, and where it lies."""
    cells = images[:, :1, ::2, ::2].float()
    place = torch.arange(cells.shape[3], dtype=torch.float32).expand_as(cells)
    return torch.cat([cells, cells * place], dim=1)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_mirror_averaging_equals_the_loop(dtype: torch.dtype) -> None:
    images = torch.randint(0, 256, (2, 3, 4, 6), generator=torch.Generator().manual_seed(0)).to(dtype)
    found = mirror_averaged(sloped, images)
    assert found.shape == (2, 2, 2, 3)
    for image, logits in zip(images.tolist(), found.tolist(), strict=True):
        for row in range(2):
            for column in range(3):
                here = image[0][2 * row][2 * column]
                mirrored = image[0][2 * row][5 - 2 * (2 - column)]  # the first pixel of the cell as the mirror shows it
                assert logits[0][row][column] == (here + mirrored) / 2
                assert logits[1][row][column] == (here * column + mirrored * (2 - column)) / 2


def test_mirroring_the_image_mirrors_the_average() -> None:
    images = torch.rand((2, 3, 4, 6), generator=torch.Generator().manual_seed(0))
    assert torch.equal(mirror_averaged(sloped, images.flip(-1)), mirror_averaged(sloped, images).flip(-1))
    assert not torch.equal(sloped(images.flip(-1)), sloped(images).flip(-1))  # so that the comparison above can fail
