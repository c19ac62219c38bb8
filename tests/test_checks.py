"""Checks of single values: what passes, and the one line that refuses the rest."""

import math
from typing import Any

import pytest

from src.checks import check_choice, check_flag, check_int, check_number, check_span
from tests.refusals import refusal


def test_values_in_range_pass() -> None:
    check_choice("task.criterion.distance", "cosine", ("cosine", "cross_entropy"))
    check_flag("protocol.flip", False)
    check_int("data.seed", 0)
    check_int("stages", 4, low=1, high=4)
    check_number("task.region_start", 0.0, low=0, below=1)
    check_number("task.criterion.region_temperature", 1, above=0)
    check_span("crop_scale", [0.5, 0.5], above=0, high=1)
    check_span("ratio", (0.75, 2), above=0)


@pytest.mark.parametrize("value", [True, 3.0, "3", None, [3], math.nan, -1, 5])
def test_what_is_no_whole_number_in_range_is_refused(value: Any) -> None:
    refusal(lambda: check_int("stages", value, low=0, high=4), f"stages is {value!r}", "whole number from 0 to 4")


@pytest.mark.parametrize("value", [True, "0.5", None, [0.5], {}, math.nan, math.inf, -math.inf, -0.1, 1.0])
def test_what_is_no_finite_number_in_range_is_refused(value: Any) -> None:
    refusal(lambda: check_number("share", value, low=0, below=1), f"share is {value!r}", "from 0 below 1")


@pytest.mark.parametrize("value", [0.0, -1, 1.5])
def test_an_open_end_does_not_belong_to_the_range(value: float) -> None:
    refusal(lambda: check_number("share", value, above=0, high=1), "above 0 to 1")


@pytest.mark.parametrize("value", ["true", 1, None, []])
def test_what_is_no_flag_is_refused(value: Any) -> None:
    refusal(lambda: check_flag("stop", value), f"stop is {value!r}", "true or false")


@pytest.mark.parametrize("value", ["sine", None, ["cosine"], 1])
def test_what_is_no_choice_is_refused(value: Any) -> None:
    refusal(lambda: check_choice("distance", value, ("cosine", "cross_entropy")), "cosine, cross_entropy")


@pytest.mark.parametrize("value", [0.5, [0.5], [0.2, 0.5, 1.0], "ab", [0.0, 1.0], [0.5, 1.5], [0.9, 0.5], [0.5, "1"]])
def test_what_is_no_span_in_range_is_refused(value: Any) -> None:
    refusal(lambda: check_span("scale", value, above=0, high=1), "scale is")


def test_the_message_says_what_else_is_allowed() -> None:
    refusal(lambda: check_int("every_n_steps", 0, low=1, otherwise="or null for never"), "from 1, or null for never")
