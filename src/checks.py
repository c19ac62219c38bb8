"""Checks of single values of a config: their type, and whether they are finite and in range."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from src.errors import DenseSiamError
from src.overrides import override

MAY_BE_EMPTY = ("logger.csv.name", "logger.tensorboard.name")  # for Lightning, "" means no subfolder


def check_choice(name: str, value: Any, choices: Collection[str]) -> None:
    """Refuse a value that is not one of the choices.

    Raises:
        DenseSiamError: the value is something else; the message names all choices.
    """
    if not isinstance(value, str) or value not in choices:
        raise DenseSiamError(f"{name} is {value!r}: choose one of {', '.join(choices)}")


def check_flag(name: str, value: Any) -> None:
    """Refuse a value that is neither true nor false.

    Raises:
        DenseSiamError: the value is something else.
    """
    if type(value) is not bool:
        raise DenseSiamError(f"{name} is {value!r}: expected true or false")


def check_int(name: str, value: Any, low: int = 0, high: int | None = None, otherwise: str = "") -> None:
    """Refuse a value that is not a whole number in a range.

    Args:
        name: name of the value in the config, such as `data.num_workers`.
        value: the value.
        low, high: the range, both ends included; no upper end if `high` is None.
        otherwise: what else the caller allows, in words for the message, such as `or null for never`.

    Raises:
        DenseSiamError: the value has another type (true and 3.0 are not whole numbers), or is out of range.
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
    """Refuse a value that is not a finite number in a range.

    Args:
        name: name of the value in the config, such as `task.criterion.region_temperature`.
        value: the value.
        low, high: ends of the range, included.
        above, below: ends of the range, excluded.
        otherwise: what else the caller allows, in words for the message.

    Raises:
        DenseSiamError: the value has another type (true is not a number), is nan, infinite or out of range.
    """
    if not _is_number_within(value, low, high, above, below):
        range_ = _range(low, high, above, below)
        raise DenseSiamError(f"{name} is {value!r}: expected a finite number{range_}{_also(otherwise)}")


def check_span(
    name: str, value: Any, above: float | None = None, low: float | None = None, high: float | None = None
) -> None:
    """Refuse a value that is not a pair [smallest, largest] of finite numbers in a range.

    Args:
        name: name of the value in the config, such as `data.views.crop_scale`.
        value: the value.
        above, low, high: range of both numbers, see `check_number`.

    Raises:
        DenseSiamError: the value is not a list of two numbers, a number is out of range, or the first is larger.
    """
    pair = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    right = len(pair) == 2 and all(_is_number_within(one, low, high, above) for one in pair)
    if not right or pair[0] > pair[1]:
        raise DenseSiamError(
            f"{name} is {pair or value!r}: expected two finite numbers{_range(low, high, above)}, the smallest first"
        )


def check_seed(name: str, value: Any) -> None:
    """Refuse a value that is not a seed for the generators of torch, numpy and scikit-learn.

    Raises:
        DenseSiamError: the value is not a whole number from 0 to 2^32 - 1.
    """
    check_int(name, value, high=2**32 - 1)


def check_text(name: str, value: Any, otherwise: str = "") -> None:
    """Refuse a value that is not text, or is blank.

    Args:
        name: name of the value in the config, such as `data.val_split`.
        value: the value.
        otherwise: what else the caller allows, in words for the message.

    Raises:
        DenseSiamError: the value is blank or not text. For a number, the message shows how to type it as text.
    """
    if isinstance(value, str) and value.strip():
        return
    typed = f"; as a text it is {override(name, str(value))}" if type(value) in (int, float) else ""
    raise DenseSiamError(f"{name} is {value!r}: expected a text{_also(otherwise)}{typed}")


def check_keys(name: str, value: Any, keys: Collection[str], every: bool = True) -> None:
    """Refuse a value that is not a mapping with these keys.

    Args:
        name: name of the value in the config, such as `task.linear_probe`.
        value: the value.
        keys: the allowed keys.
        every: whether all keys are required.

    Raises:
        DenseSiamError: the value is not a mapping, or has unknown keys, or lacks required ones; the message names them.
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
    """Refuse a config that contains an empty text, which is what `data.root=$DIR` gives if the variable DIR is not set.

    Args:
        config: plain containers, with interpolations resolved.
        key: dotted name of `config` in the whole config.

    Raises:
        DenseSiamError: a text is empty; the message names it.
    """
    if isinstance(config, Mapping):
        for name, value in config.items():
            check_filled(value, f"{key}.{name}" if key else str(name))
    elif isinstance(config, str) and not config.strip() and key not in MAY_BE_EMPTY:
        raise DenseSiamError(
            f"{key} is empty, as a shell variable that is not set leaves it: give a value, or {key}=null for none"
        )


def check_made(name: str, value: Any, kind: type | Callable[[Any], bool], hint: str) -> None:
    """Refuse a value of the config from which Hydra did not build the expected object.

    Args:
        name: name of the value in the config, such as `model.encoder`.
        value: the value.
        kind: the expected class, or a test such as `callable`.
        hint: how to choose the object, in words for the message.

    Raises:
        DenseSiamError: the value is something else.
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
