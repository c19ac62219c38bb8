"""Weights of a checkpoint that are not those of the module that its config describes."""

import torch
from torch import Tensor, nn

from src.checkpoints.loading import check_fits
from tests.refusals import refusal

STATE = {"weight": torch.zeros(3, 2), "bias": torch.zeros(3)}


def test_the_same_names_and_shapes_fit() -> None:
    check_fits(STATE, nn.Linear(2, 3), "last.ckpt")


def test_what_does_not_fit_is_named() -> None:
    def refused(state: dict[str, Tensor]) -> str:
        return refusal(lambda: check_fits(state, nn.Linear(2, 3), "last.ckpt"), "last.ckpt")

    assert "lacks 1 weights" in refused({"weight": STATE["weight"]})
    assert "its network has not, the first is 'scale'" in refused({**STATE, "scale": torch.zeros(3)})
    assert "weight in last.ckpt has the shape (3, 3): expected (3, 2)" in refused(
        {**STATE, "weight": torch.zeros(3, 3)}
    )
