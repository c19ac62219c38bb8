"""A sorted table as Markdown and as comma-separated values."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from src.results.runs import Run
from src.results.scores import describe
from src.results.tables.cells import RATIO, WORDS, digits, measured, moments, seeds, spread, steps
from src.results.tables.published import Table
from src.results.tables.sorting import Line


def headings(table: Table) -> list[str]:
    """Headings of our columns."""
    return [*table.scores, *table.joined, *table.costs, *([f"{RATIO}{table.reference}"] if table.reference else [])]


def legend(table: Table) -> str:
    """An explanation of our columns."""
    words = [WORDS[name] for name in table.costs if name in WORDS]
    if table.reference:
        words.append(f"{RATIO}{table.reference}: training time per image divided by the mean of that row")
    said = "; ".join(["scores in percent, mean ± standard deviation over seeds", *words])
    return f"Our columns: {said}. 'not run': no run has finished; '-': a run of the row lacks the value."


def markdown(table: Table, lines: Sequence[Line], remarks: Sequence[str], data: str = "") -> str:
    """The table as Markdown, with the published numbers in columns of their own and the remarks below.

    Args:
        table: the table of the paper.
        lines, remarks: the result of `src.results.tables.sorting.collect`.
        data: name of the training data, if each data set has a table of its own.
    """
    several = any(line.setting for line in lines)
    ours = [*headings(table), "steps", "seeds"]
    columns = [table.label, *["setting"] * several, *ours, *(f"published {name}" for name in table.columns)]
    place = f" on {data}" if data else ""
    written = [f"## {table.name}{place}: {table.title}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for line in lines:
        cells = [line.row.name, *[line.setting or "-"] * several]
        if line.runs or line.tuned:
            cells += [spread(values, digits(name)) for name, values in measured(table, line, lines).items()]
            cells += ["-" if line.row.beside else steps(line.runs) or "-"]
            cells += [f"{len(line.runs)}: {', '.join(seeds(line.runs))}" if line.runs else "-"]
        else:
            cells += ["not run"] * len(ours)
        published = ["-" if number is None else str(number) for number in line.row.published]
        written.append(f"| {' | '.join([*cells, *published])} |")
    said = [legend(table), *(protocols([line.runs for line in lines]) if table.by_data else []), *table.notes, *remarks]
    return "\n".join([*written, "", *(f"- {one}" for one in said), ""])


def protocols(groups: Iterable[Iterable[Run]]) -> list[str]:
    """One remark for each protocol by which the runs of some groups were scored."""
    ways: Mapping[str, None] = dict.fromkeys(
        describe(run.document["protocol"]) for runs in groups for run in runs if run.document.get("protocol")
    )
    return [f"Scored: {way}." for way in ways]


def comma_separated(table: Table, sections: Mapping[str, Sequence[Line]]) -> str:
    """The table as comma-separated values, with six digits and NA for missing numbers.

    Args:
        table: the table of the paper.
        sections: its lines by the name of the training data; one entry "" if the data makes no table of its own.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ours = [f"{name} {part}" for name in headings(table) for part in ("mean", "sd")]
    published = [f"published {name}" for name in table.columns]
    data = ["data"] * table.by_data
    writer.writerow(["table", *data, "row", "setting", "runs", "seeds", "steps", *ours, *published])
    for section, lines in sections.items():
        for line in lines:
            numbers = [number for values in measured(table, line, lines).values() for number in moments(values)]
            cells = ["NA" if number is None else f"{number:.6g}" for number in numbers]
            made = "" if line.row.beside else steps(line.runs)
            told = [line.setting, len(line.runs), " ".join(seeds(line.runs)) or "NA", made or "NA"]
            printed = ["NA" if number is None else number for number in line.row.published]
            writer.writerow([table.name, *([section] * table.by_data), line.row.name, *told, *cells, *printed])
    return text.getvalue()
