"""What the program says when it refuses something."""

from collections.abc import Callable
from typing import Any

import pytest

from src.errors import DenseSiamError


def refusal(action: Callable[[], Any], *expected: object) -> str:
    """The message of the DenseSiamError that `action` raises: one line with these parts."""
    with pytest.raises(DenseSiamError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message, message
    for part in expected:
        assert str(part) in message, message
    return message
