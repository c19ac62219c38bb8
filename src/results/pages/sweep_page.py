"""The page of a sweep: its table, and its scores over the swept values."""

from collections.abc import Sequence
from statistics import mean, stdev

from markupsafe import Markup

from src.results.pages.charts import Point, swept
from src.results.pages.rendering import render
from src.results.pages.run_page import title_of
from src.results.pages.series import finite
from src.results.scores import PRIMARY
from src.results.sweeps import Setting, Sweep, cell, columns, interval_of, measured, places

MOST_LINES = 7


def sweep_page(sweep: Sweep) -> str:
    """The page of a sweep as HTML."""
    shown = columns(sweep)
    finished = [run for setting in sweep.settings for run in setting.finished]
    return render(
        "sweep.html.j2",
        {
            "title": title_of("Sweep", sweep.folder),
            "contents": [],
            "sweep": sweep,
            "columns": shown,
            "scored": [name for name in shown if name in PRIMARY],
            "rows": [
                (list(setting.values.values()), [cell(setting, name) for name in shown], places(setting))
                for setting in sweep.settings
            ],
            "plots": [(key, [plot(sweep, key, name) for name in shown]) for key in sweep.keys],
            "protocol": finished[0].document["protocol"] if finished else {},
            "finished": len(finished),
            "failed": sum(len(setting.failed) for setting in sweep.settings),
        },
    )


def plot(sweep: Sweep, key: str, column: str) -> Markup:
    """A score or a metric over one of the swept values; settings that share the other values are joined by a line."""
    known = [setting for setting in sweep.settings if measured(setting, column)]
    values = list(dict.fromkeys(setting.values[key] for setting in known))
    numbers = [finite(value) for value in values]
    numeric = bool(numbers) and None not in numbers
    lines: dict[str, list[Point]] = {}
    for setting in known:
        others = ", ".join(f"{name}={value}" for name, value in setting.values.items() if name != key)
        value = setting.values[key]
        x = finite(value) if numeric else float(values.index(value))
        if x is not None:
            lines.setdefault(others, []).append(point(setting, column, x))
    if len(lines) > MOST_LINES:  # too many for a legend
        lines = {"": [one for points in lines.values() for one in points]}
    unit = f"{column} (%)" if column in PRIMARY else column.replace("_", " ")
    return swept(key, unit, lines, None if numeric else values)


def point(setting: Setting, column: str, x: float) -> Point:
    """The mean over the seeds with its standard deviation, or the value of one run with its interval."""
    numbers: Sequence[float] = measured(setting, column)
    middle = mean(numbers)
    if len(numbers) > 1:
        return Point(x, middle, middle - stdev(numbers), middle + stdev(numbers))
    low, high = (interval_of(setting, column) if column in PRIMARY else None) or (middle, middle)
    return Point(x, middle, low, high)
