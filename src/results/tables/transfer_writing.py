"""A table of starts as Markdown and as comma-separated values."""

import csv
import io
from collections.abc import Iterable, Sequence

from src.results.runs import Run
from src.results.tables.cells import COSTS, WORDS, digits, moments, seeds, spread, steps
from src.results.tables.transfer import Group, Line, Section, Transfer
from src.results.tables.writing import protocols

PRETRAINING, STEPS = "pre-training", "steps"
LEGEND = (
    "Scores in percent, mean ± standard deviation over the runs, whose numbers and seeds are in the column `seeds`. "
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
        published = [f"published {name}" for name in headings(section.groups)] if beside(table, section) else []
        ours = [*headings(section.groups), "seeds", *(f"{PRETRAINING} {name}" for name in spent(table, ()))]
        columns = ["start", "encoder", *["setting"] * several, *ours, *published]
        place = f"{section.groups[0].name} on {section.data}" if section.data else table.title
        parts += [f"## {table.name}: {place}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        for line in section.lines:
            cells = [spread(each) if each else "not run" for each in values(section.groups, line)]
            told = [line.start, line.encoder or "-", *[line.setting or "-"] * several]
            told += [*cells, trials(section.groups, line) or "-", *costs(table, line.before)]
            told += printed(table, line) if beside(table, section) else []
            parts.append(f"| {' | '.join(told)} |")
        notes = [LEGEND, *words(table), *protocols([runs for line in section.lines for runs in line.runs.values()])]
        notes += [] if section.data else table.notes
        parts += ["", *(f"- {each}" for each in notes), ""]
    return "\n".join([*parts, *(f"- {each}" for each in remarks), ""])


def beside(table: Transfer, section: Section) -> bool:
    """Whether published numbers stand beside those of a section."""
    return table.is_published and not section.data


def spent(table: Transfer, runs: Sequence[Run]) -> dict[str, list[float | None]]:
    """What each pre-training run of a line cost, by the heading; empty for a table without costs."""
    if not table.costs:
        return {}
    return {STEPS: [run.document["cost"]["steps"] for run in runs]} | {
        name: [COSTS[name](run) for run in runs] for name in table.costs
    }


def costs(table: Transfer, runs: Sequence[Run]) -> list[str]:
    """The costs of the pre-training as the texts of cells; dashes without such a run."""
    return [
        (steps(runs) or "-") if name == STEPS else spread(each, digits(name))
        for name, each in spent(table, runs).items()
    ]


def words(table: Transfer) -> list[str]:
    """Explanations of the columns of costs."""
    said = [WORDS[name] for name in table.costs if name in WORDS]
    return [f"Costs of the pre-training, over its runs: {'; '.join(said)}."] if said else []


def printed(table: Transfer, line: Line) -> list[str]:
    """The published numbers of a line's start, or dashes."""
    count = len(table.rows[0].published)
    found = next((row.published for row in table.rows if row.name == line.start), [None] * count)
    return ["-" if number is None else str(number) for number in found]


def csv_starts(table: Transfer, sections: Iterable[Section]) -> str:
    """All sections as comma-separated values: a row for each heading of a line and each cost of its pre-training."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["table", "data", "start", "encoder", "setting", "group", "score", "runs", "mean", "sd", "published"]
    )
    for section in sections:
        names = [(group, heading) for group in section.groups for heading in group.scores]
        for line in section.lines:
            told = [line.start, line.encoder or "NA", line.setting]
            theirs = ["-"] * len(names) if section.data else printed(table, line)
            for (group, heading), each, known in zip(names, values(section.groups, line), theirs, strict=True):
                data = section.data or group.data or "of the paper"
                cells = [group.name, heading, len(each), *numbers(each), "NA" if known == "-" else known]
                writer.writerow([table.name, data, *told, *cells])
            for heading, each in spent(table, line.before).items():
                cells = [PRETRAINING, heading, len(each), *numbers(each), "NA"]
                writer.writerow([table.name, section.data or PRETRAINING, *told, *cells])
    return text.getvalue()


def numbers(of_runs: Sequence[float | None]) -> list[str]:
    """Mean and standard deviation with six digits, or NA."""
    return ["NA" if number is None else f"{number:.6g}" for number in moments(of_runs)]
