"""Fixtures of all tests: stored arrays and data that lie beside the repository, not in it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"

Golden = Callable[[str], dict[str, np.ndarray]]


def _existing(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is absent: this test compares with material beside the repository")
    return path


@pytest.fixture(scope="session")
def golden() -> Golden:
    """``golden("evaluator")``: the arrays of shared/reference/golden/evaluator.npz; skips where they are absent."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(_existing(SHARED / "reference" / "golden" / f"{name}.npz")) as arrays:
            return dict(arrays)

    return load


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """``shared_data("camvid")``: the folder shared/data/camvid; skips where it is absent."""
    return lambda name: _existing(SHARED / "data" / name)
