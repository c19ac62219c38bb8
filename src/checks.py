"""Checks of single values that a config may hold: of the right type, finite, in range."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from src.errors import DenseSiamError
from src.overrides import override

MAY_BE_EMPTY = ("logger.csv.name", "logger.tensorboard.name")  # Lightning's word for no further folder


def check_choice(name: str, value: Any, choices: Collection[str]) -> None:
    """Refuse a value that is none of the choices.

    Raises:
        DenseSiamError: naming all of them.
    """
    if not isinstance(value, str) or value not in choices:
        raise DenseSiamError(f"{name} is {value!r}: choose one of {', '.join(choices)}")


def check_flag(name: str, value: Any) -> None:
    """Refuse a value that is neither true nor false.

    Raises:
        DenseSiamError: it is something else.
    """
    if type(value) is not bool:
        raise DenseSiamError(f"{name} is {value!r}: expected true or false")


def check_int(name: str, value: Any, low: int = 0, high: int | None = None, otherwise: str = "") -> None:
    """Refuse a value that is no whole number in a range.

    Args:
        name: of the value in the config, such as `data.num_workers`.
        value: what was given.
        low, high: the range, both ends included; no upper end if `high` is None.
        otherwise: what else the caller allows, for the message, such as `or null for never`.

    Raises:
        DenseSiamError: another type (true and 3.0 are no whole numbers), or out of range.
    """
    if type(value) is not int or value < low or (high is not None and value > high):
        upper = "" if high is None else f" to {high}"
        raise DenseSiamError(f"{name} is {value!r}: expected a whole number from {low}{upper}{_also(otherwise)}")


def check_number(
    name: str,
    value: Any,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    otherwise: str = "",
) -> None:
    """Refuse a value that is no finite number in a range.

    Args:
        name: of the value in the config, such as `task.criterion.region_temperature`.
        value: what was given.
        low, high: ends of the range that belong to it.
        above, below: ends of the range that don't.
        otherwise: what else the caller allows, for the message.

    Raises:
        DenseSiamError: another type (true is no number), nan, infinite, or out of range.
    """
    if not _is_number_within(value, low, high, above, below):
        range_ = _range(low, high, above, below)
        raise DenseSiamError(f"{name} is {value!r}: expected a finite number{range_}{_also(otherwise)}")


def check_span(
    name: str, value: Any, above: float | None = None, low: float | None = None, high: float | None = None
) -> None:
    """Refuse a value that is no pair [smallest, largest] of finite numbers in a range, in this order.

    Args:
        name: of the value in the config, such as `data.views.crop_scale`.
        value: what was given.
        above, low, high: see `check_number`, for both numbers.

    Raises:
        DenseSiamError: no list of two numbers, out of range, or the first is the larger.
    """
    pair = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    right = len(pair) == 2 and all(_is_number_within(one, low, high, above) for one in pair)
    if not right or pair[0] > pair[1]:
        raise DenseSiamError(
            f"{name} is {pair or value!r}: expected two finite numbers{_range(low, high, above)}, the smallest first"
        )


def check_seed(name: str, value: Any) -> None:
    """Refuse a value that is no seed for the generators of torch, numpy and scikit-learn.

    Raises:
        DenseSiamError: no whole number of 32 bits.
    """
    check_int(name, value, high=2**32 - 1)


def check_text(name: str, value: Any, otherwise: str = "") -> None:
    """Refuse a value that is no text, or has no letter in it.

    Args:
        name: of the value in the config, such as `data.val_split`.
        value: what was given.
        otherwise: what else the caller allows, for the message.

    Raises:
        DenseSiamError: it is empty or something else; a number is shown as it has to be typed.
    """
    if isinstance(value, str) and value.strip():
        return
    typed = f"; as a text it is {override(name, str(value))}" if type(value) in (int, float) else ""
    raise DenseSiamError(f"{name} is {value!r}: expected a text{_also(otherwise)}{typed}")


def check_keys(name: str, value: Any, keys: Collection[str], every: bool = True) -> None:
    """Refuse what is no mapping with these keys.

    Args:
        name: of the value in the config, such as `task.linear_probe`.
        value: what was given.
        keys: that it may have.
        every: whether none of them may be absent.

    Raises:
        DenseSiamError: naming those that are strange or absent.
    """
    if not isinstance(value, Mapping):
        raise DenseSiamError(f"{name} is {value!r}: expected values of {', '.join(keys)}")
    strange = [str(key) for key in value if key not in keys]
    absent = [key for key in keys if key not in value] if every else []
    if strange or absent:
        found = [f"has {', '.join(strange)}"] if strange else []
        found += [f"lacks {', '.join(absent)}"] if absent else []
        raise DenseSiamError(f"{name} {' and '.join(found)}: expected only {', '.join(keys)}")


def check_filled(config: Any, key: str = "") -> None:
    """Refuse a config with an empty text in it: so a shell leaves `data.root=$DIR` where DIR is not set.

    Args:
        config: plain containers, interpolations resolved.
        key: where they stand in the whole config.

    Raises:
        DenseSiamError: naming the value.
    """
    if isinstance(config, Mapping):
        for name, value in config.items():
            check_filled(value, f"{key}.{name}" if key else str(name))
    elif isinstance(config, str) and not config.strip() and key not in MAY_BE_EMPTY:
        raise DenseSiamError(
            f"{key} is empty, as a shell variable that is not set leaves it: give a value, or {key}=null for none"
        )


def check_made(name: str, value: Any, kind: type | Callable[[Any], bool], hint: str) -> None:
    """Refuse a value where the config should have had something constructed.

    Args:
        name: of the value in the config, such as `model.encoder`.
        value: what was given.
        kind: its class, or `callable`.
        hint: how it is chosen, for the message.

    Raises:
        DenseSiamError: it is something else.
    """
    if not (isinstance(value, kind) if isinstance(kind, type) else kind(value)):
        raise DenseSiamError(f"{name} is {value!r}, from which nothing can be made: choose it with {hint}")


def _also(otherwise: str) -> str:
    return f", {otherwise}" if otherwise else ""


def _is_number_within(
    value: Any, low: float | None, high: float | None, above: float | None, below: float | None = None
) -> bool:
    """Whether a value is a finite number in a range, see `check_number`."""
    right = type(value) in (int, float) and math.isfinite(value)
    right = right and (low is None or value >= low) and (high is None or value <= high)
    return right and (above is None or value > above) and (below is None or value < below)


def _range(low: float | None, high: float | None, above: float | None, below: float | None = None) -> str:
    """A range in words, see `check_number`."""
    ends = (("from", low), ("above", above), ("to", high), ("below", below))
    return "".join(f" {word} {end:g}" for word, end in ends if end is not None)
