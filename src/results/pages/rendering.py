"""Rendering of pages from the templates in this package. Every text is escaped, because it may come from a stranger."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from src.results.pages.embedding import address
from src.results.scores import describe

DASH = "–"
TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, values: Mapping[str, Any]) -> str:
    """Fill a template, such as `run.html.j2`."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        extensions=["jinja2.ext.do"],
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "words": words, "shown": shown}
    environment.filters |= {"address": address, "protocol": describe}
    return environment.get_template(template).render(values)


def number(value: Any, digits: int = 1) -> str:
    """A number as text; a dash for everything else."""
    return f"{value:,.{digits}f}" if is_number(value) else DASH


def is_number(value: Any) -> bool:
    """Whether a value is a number that can be shown: finite, and within the range of floats."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def percent(value: float) -> str:
    """A share in percent; a share that is not 0 is not shown as 0."""
    return "below 0.1 %" if 0 < value < 0.05 else f"{value:.1f} %"


def words(name: Any) -> str:
    """The name of a value in words."""
    return str(name).replace("_", " ")


def shown(value: Any) -> str:
    """Any value of a file as text: numbers with at most four digits behind the point."""
    if value is None:
        return DASH
    if isinstance(value, list | tuple):
        return ", ".join(shown(one) for one in value)
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10_000:
        return f"{value:,}"
    return str(value)
