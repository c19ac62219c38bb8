"""Values of the config as text for a command line."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

UNQUOTED = re.compile(r"[\w./+%@-]+", re.ASCII)


def override(key: str, value: Any) -> str:
    """`key=value`, quoted for the shell and for Hydra, so that a user can paste it after a command.

    Args:
        key: key in the config, such as `ckpt_path`.
        value: text, a path, a number, a flag, None, or lists and mappings of these.
    """
    return shlex.quote(f"{key}={spelled(value)}")


def spelled(value: Any) -> str:
    """A value in Hydra's grammar, so that Hydra reads the same value again; not quoted for the shell."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{spelled(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(spelled, value)) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    return str(value) if _is_plain(str(value)) else _quoted(str(value))


def _is_plain(text: str) -> bool:
    """Whether Hydra reads a text without quotes as the same text, not as a number, a flag or something else."""
    if not UNQUOTED.fullmatch(text):
        return False
    try:
        return OverridesParser.create().parse_override(f"x={text}").value() == text
    except HydraException:
        return False


def _quoted(text: str) -> str:
    # A backslash stops OmegaConf from resolving ${...}; backslashes before it must then be doubled.
    literal = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    # Hydra's own escapes: a backslash before a quotation mark, and doubled backslashes before that.
    return '"' + re.sub(r'(\\*)("|\Z)', lambda m: m[1] * 2 + ('\\"' if m[2] else ""), literal) + '"'


def flat(config: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """A config as a flat dict with dotted names.

    Args:
        config: the config.
        place: prefix of the names, such as `data.`.
    """
    entries: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{place}{key}"
        entries |= flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return entries
