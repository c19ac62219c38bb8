"""A table of starts as Markdown and as comma-separated values."""

import csv
import io
from collections.abc import Iterable, Sequence

from src.results.tables.cells import moments, seeds, spread
from src.results.tables.transfer import Group, Line, Section, Transfer
from src.results.tables.writing import protocols

LEGEND = (
    "Scores in percent, mean ± standard deviation over the runs, whose seeds are in the last of our columns. "
    "'not run': no run has finished; '-': a run lacks the value."
)


def headings(groups: Sequence[Group]) -> list[str]:
    """Headings of the scores, with the name of the group where there are several."""
    return [f"{group.name} {heading}" if len(groups) > 1 else heading for group in groups for heading in group.scores]


def values(groups: Sequence[Group], line: Line) -> list[list[float | None]]:
    """The values of all runs of a line for each heading; [] where no run has finished."""
    return [
        [run.document["scores"].get(label, {}).get(score) for run in line.runs.get(group.name, ())]
        for group in groups
        for label, score in group.scores.values()
    ]


def trials(groups: Sequence[Group], line: Line) -> str:
    """The seeds of the runs of each group."""
    told = {group.name: seeds(line.runs[group.name]) for group in groups if group.name in line.runs}
    return "; ".join(
        f"{f'{name} ' if len(groups) > 1 else ''}{len(each)}: {', '.join(each)}" for name, each in told.items()
    )


def markdown_starts(table: Transfer, sections: Iterable[Section], remarks: Sequence[str]) -> str:
    """All sections as Markdown, each with the protocols of its runs, and the remarks at the end."""
    parts = [*table.first, ""]
    for section in sections:
        several = any(line.setting for line in section.lines)
        published = [] if section.data else [f"published {name}" for name in headings(section.groups)]
        columns = ["start", "encoder", *["setting"] * several, *headings(section.groups), "seeds", *published]
        place = f"{section.groups[0].name} on {section.data}" if section.data else table.title
        parts += [f"## {table.name}: {place}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        for line in section.lines:
            cells = [spread(each) if each else "not run" for each in values(section.groups, line)]
            told = [line.start, line.encoder or "-", *[line.setting or "-"] * several]
            told += [*cells, trials(section.groups, line) or "-"]
            told += [] if section.data else printed(table, line)
            parts.append(f"| {' | '.join(told)} |")
        notes = [LEGEND, *protocols([runs for line in section.lines for runs in line.runs.values()])]
        notes += [] if section.data else table.notes
        parts += ["", *(f"- {each}" for each in notes), ""]
    return "\n".join([*parts, *(f"- {each}" for each in remarks), ""])


def printed(table: Transfer, line: Line) -> list[str]:
    """The published numbers of a line's start, or dashes."""
    count = len(table.rows[0].published)
    found = next((row.published for row in table.rows if row.name == line.start), [None] * count)
    return ["-" if number is None else str(number) for number in found]


def csv_starts(table: Transfer, sections: Iterable[Section]) -> str:
    """All sections as comma-separated values: a row for each line and heading."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["table", "data", "start", "encoder", "setting", "group", "score", "runs", "mean", "sd", "published"]
    )
    for section in sections:
        names = [(group.name, heading) for group in section.groups for heading in group.scores]
        for line in section.lines:
            theirs = ["-"] * len(names) if section.data else printed(table, line)
            for (group, heading), each, known in zip(names, values(section.groups, line), theirs, strict=True):
                numbers = ["NA" if number is None else f"{number:.6g}" for number in moments(each)]
                told = [table.name, section.data or "of the paper", line.start, line.encoder or "NA", line.setting]
                writer.writerow([*told, group, heading, len(each), *numbers, "NA" if known == "-" else known])
    return text.getvalue()
