"""Weights of a checkpoint that are not those of the module that its config describes."""

from torch import nn

from src.checkpoints.loading import check_fits
from tests.refusals import refusal

SHAPES = {"weight": (3, 2), "bias": (3,)}


def test_the_same_names_and_shapes_fit() -> None:
    check_fits(SHAPES, nn.Linear(2, 3), "last.ckpt")


def test_what_does_not_fit_is_named() -> None:
    def refused(shapes: dict[str, tuple[int, ...]]) -> str:
        return refusal(lambda: check_fits(shapes, nn.Linear(2, 3), "last.ckpt"), "last.ckpt")

    assert "lacks 1 weights" in refused({"weight": (3, 2)})
    assert "its network has not, the first is 'scale'" in refused({**SHAPES, "scale": (3,)})
    assert "weight in last.ckpt has the shape (3, 3): expected (3, 2)" in refused({**SHAPES, "weight": (3, 3)})
