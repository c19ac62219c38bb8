"""Charts as inline SVG, in colours that colour-blind readers can tell apart."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.results.pages.series import Chart, Line

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#e69f00", "#56b4e9", "#333333")  # after Okabe and Ito
DASHES = ("-", "--", "-.", ":")
SIZE = (3.2, 2.0)  # inches: text of 9 points is readable where the chart is 290 pixels wide
WIDE, MOST_TICKS = 20, 6
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "report",
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#7a828e",
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "xtick.color": "#4b5563",
    "ytick.color": "#4b5563",
    "text.color": "#1f2933",
    "axes.labelcolor": "#4b5563",
}


class Point(NamedTuple):
    """A measured value with the ends of its interval, at a place on the horizontal axis."""

    x: float
    y: float
    low: float
    high: float


def curves(chart: Chart, x_label: str) -> Markup:
    """A chart of curves over epochs or steps. A curve of one point is a level that the others are compared with."""
    with figure() as (drawn, axes):
        several = any(len(line.x) > 1 for line in chart.lines)
        for place, line in enumerate(chart.lines):
            style: dict[str, Any] = {"color": colour(place), "label": line.name or None}
            if len(line.x) > 1:
                marker = "o" if len(line.x) <= 30 else None
                axes.plot(line.x, line.y, linestyle=dashes(place), marker=marker, markersize=3, **style)
            elif several:
                axes.axhline(line.y[0], linestyle=":", **style)
            else:
                axes.plot(line.x, line.y, "o", **style)
        axes.set_xlabel(x_label)
        axes.locator_params(nbins=5)
        legend(drawn, axes)
        return svg(drawn, f"{chart.title}: {'; '.join(described(line) for line in chart.lines)}")


def swept(title: str, unit: str, lines: Mapping[str, Sequence[Point]], ticks: Sequence[str] | None) -> Markup:
    """A chart of a score over a swept value.

    Args:
        title: the swept value.
        unit: what is measured.
        lines: the points of each combination of the other swept values, by its description.
        ticks: the values as text, at 0, 1, ...; None if the values are numbers.
    """
    with figure() as (drawn, axes):
        for place, (name, points) in enumerate(lines.items()):
            x, y = [point.x for point in points], [point.y for point in points]
            ends = [[max(0.0, one.y - one.low) for one in points], [max(0.0, one.high - one.y) for one in points]]
            style: dict[str, Any] = {"color": colour(place), "linestyle": dashes(place), "label": name or None}
            axes.errorbar(x, y, ends, marker="o", capsize=3, **style)
        if ticks is not None:
            axes.set_xticks(range(len(ticks)), labels=[shortened(text) for text in ticks])
            axes.set_xlim(-0.5, len(ticks) - 0.5)
        else:
            number_axis(axes, sorted({point.x for points in lines.values() for point in points}))
        axes.set_xlabel(title)
        axes.set_ylabel(unit)
        legend(drawn, axes)
        values = "; ".join(
            f"{f'{name}, ' if name else ''}{ticks[round(one.x)] if ticks else f'{one.x:g}'}: {one.y:.3g}"
            for name, points in lines.items()
            for one in points
        )
        return svg(drawn, f"{unit} over {title}: {values}")


def number_axis(axes: Axes, values: Sequence[float]) -> None:
    """Mark the swept numbers on the axis, in a logarithmic scale if they span several powers of ten."""
    if values and values[0] > 0 and values[-1] >= WIDE * values[0]:
        axes.set_xscale("log")
    if len(values) <= MOST_TICKS:
        axes.set_xticks(values, labels=[f"{value:g}" for value in values])
        axes.set_xticks([], minor=True)


@contextmanager
def figure() -> Iterator[tuple[Figure, Axes]]:
    """An empty figure in the style of the pages; it has to be drawn inside of the context."""
    with mpl.rc_context(STYLE):
        drawn = Figure(figsize=SIZE, layout="constrained")
        yield drawn, drawn.add_subplot()


def legend(drawn: Figure, axes: Axes) -> None:
    """A legend below the chart, if a curve has a name."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        texts = [shortened(label, 44) for label in labels]
        columns = 1 if any(len(text) > 18 for text in texts) else 2
        drawn.set_figheight(SIZE[1] + 0.2 * -(-len(texts) // columns))
        drawn.legend(handles, texts, loc="outside lower left", ncols=columns, frameon=False, fontsize=8)


def colour(place: int) -> str:
    """The colour of a curve."""
    return COLOURS[place % len(COLOURS)]


def dashes(place: int) -> str:
    """The dashes of a curve, so that curves differ without colours too."""
    return DASHES[place % len(DASHES)]


def shortened(text: str, most: int = 14) -> str:
    """A text that fits into a chart."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def described(line: Line) -> str:
    """A curve in words, for readers who can't see it."""
    name = f"{line.name} " if line.name else ""
    if len(line.y) == 1:
        return f"{name}{line.y[0]:.3g}"
    return f"{name}from {line.y[0]:.3g} to {line.y[-1]:.3g}, lowest {min(line.y):.3g}, highest {max(line.y):.3g}"


def svg(drawn: Figure, description: str) -> Markup:
    """A figure as an SVG element with an alternative text, without what only a file of its own needs."""
    buffer = io.StringIO()
    drawn.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"'?DejaVu Sans'?,[^;\"]*", "system-ui, sans-serif", text)
    used = set(re.findall(r"#([\w-]+)[\")]", text))
    text = re.sub(r' id="([\w.-]+)"', lambda found: found[0] if found[1] in used else "", text)
    opening, _, rest = text.partition(">")
    box = re.search(r'viewBox="[\d. -]+"', opening)
    size = box[0] if box else ""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {size}'
    return Markup(f'{head} role="img" aria-label="{escape(description)}">{rest}')
