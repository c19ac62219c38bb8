"""The type of the fixture `script`, which runs scripts/collect_tables.py."""

from collections.abc import Callable

Script = Callable[..., list[str]]  # arguments -> printed lines
