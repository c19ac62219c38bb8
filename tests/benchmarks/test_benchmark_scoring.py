"""The program that scoring is compared with counts the same pixels."""

import numpy as np
import pytest
import torch

from benchmarks.plain_evaluator import plain_matrices
from benchmarks.scoring import main, our_counts


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize(
    ("cells", "size"), [((8, 8), (32, 32)), ((5, 7), (40, 56)), ((6, 4), (3, 8)), ((4, 4), (4, 4))]
)
def test_matrices_are_identical(ties: bool, cells: tuple[int, int], size: tuple[int, int]) -> None:
    """Small whole numbers, upsampled by powers of two, are exact: many pixels then have several largest logits."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 9, *cells, generator=generator)
    if ties:
        logits = logits.round()
    label = torch.randint(5, (3, *size), generator=generator)
    label = label.masked_fill(torch.rand(label.shape, generator=generator) < 0.2, 255)
    expected = plain_matrices(logits, label, 5, 9)
    found = our_counts(logits, label, 5).compute().counts.toarray().reshape(3, 5, 9)
    np.testing.assert_array_equal(found, expected)
    assert expected.sum() == (label != 255).sum()


def test_other_sizes_give_identical_matrices() -> None:
    logits = torch.randn(2, 27, 20, 20, generator=torch.Generator().manual_seed(0))
    label = torch.arange(2 * 77 * 51).reshape(2, 77, 51) % 27
    found = our_counts(logits, label, 27).compute().counts.toarray().reshape(2, 27, 27)
    np.testing.assert_array_equal(found, plain_matrices(logits, label, 27, 27))


def test_the_command_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"IMAGES": 1, "SIDE": 16}.items():
        monkeypatch.setattr(f"benchmarks.scoring.{name}", value)
    main(["--rounds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert ["at most 0.4: " in line for line in lines[2:6]] == [False, True] * 2
