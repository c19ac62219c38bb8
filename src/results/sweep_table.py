"""The table of a sweep in the terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from src.results.scores import PRIMARY
from src.results.sweeps import Sweep, cell, columns, places

SCORED, LABEL_FREE = "{} in percent (95 % interval, or ± over seeds)", "Label-free metrics of the last epoch"


def print_sweep(sweep: Sweep) -> None:
    """Print a table with one line for each setting: its values, its scores or label-free metrics, and its folders."""
    shown = columns(sweep)
    scores = [name for name in shown if name in PRIMARY] if shown else PRIMARY[:1]
    title = SCORED.format(", ".join(scores)) if scores else LABEL_FREE
    table = Table(title=title, title_justify="left")
    for name in sweep.keys:
        table.add_column(escape(name))
    for name in shown:
        table.add_column(escape(name), justify="right", no_wrap=True)
    table.add_column(f"folder in {escape(str(sweep.folder))}", overflow="fold")
    for setting in sweep.settings:
        numbers = [cell(setting, name) for name in shown]
        table.add_row(*(escape(setting.values[name]) for name in sweep.keys), *numbers, escape(places(setting)))
    Console(width=max(120, Console().width)).print(table)
