"""Protocols to score with in tests."""

from typing import Any

from src.evaluation.protocol import Protocol


def paper(**changes: Any) -> Protocol:
    """The paper's protocol at 32 pixels and without intervals, but for these changes."""
    values = {"name": "paper", "side": 32, "crop": True, "flip": False, "matching": "hungarian", "head": "main"}
    return Protocol(**(values | {"release_blocks": False, "resamples": 0} | changes))
