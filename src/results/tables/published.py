"""The tables of the paper: their rows, the config values that assign a run to a row, and the published numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from omegaconf import OmegaConf


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        name: name in the printed table.
        values: config values that every run of the row has; `any` allows every value.
        published: the paper's number for each column; None if the paper has none.
        beside: name of another row, if this row (such as a reference method) is scored within the runs of that row.
        label: label of the scores in `scores.json`, for such a row.
    """

    name: str
    values: Mapping[str, Any]
    published: Sequence[float | None]
    beside: str | None = None
    label: str | None = None


class Table(NamedTuple):
    """A table of the paper, and the columns with our numbers.

    Attributes:
        name: name of the table, such as `Table 4a`.
        title: title of the table.
        label: heading of the first column.
        columns: headings of the published columns.
        scores: headings of our scores, each with a row of `scores.json` and the name of a score in it.
        joined: headings of scores of fine-tuning runs whose start is a run of the row, as `scores`; see `tuned`.
        tuned: config values that every such fine-tuning run has.
        comparable: config values of those fine-tuning runs whose scores may stand beside the published ones.
        images: how many images these score; None for any number.
        costs: headings of our costs, keys of `src.results.tables.cells.COSTS`.
        rows: the rows in their order.
        notes: remarks on the numbers, printed below the table.
        first: remarks that are printed before all tables.
        by_data: whether the runs of each data set get a table of their own.
        own: parts of the config that always differ between rows; they are compared only within a row.
        reference: name of the row by whose time the times of the others are divided, if any.
    """

    name: str
    title: str
    label: str
    columns: Sequence[str]
    scores: Mapping[str, Sequence[str]]
    joined: Mapping[str, Sequence[str]]
    tuned: Mapping[str, Any]
    comparable: Mapping[str, Any]
    images: int | None
    costs: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str]
    first: Sequence[str]
    by_data: bool
    own: Sequence[str]
    reference: str | None


def read_tables(folder: Path) -> dict[str, Table]:
    """The tables of every YAML file in a folder, by their names."""
    tables = {}
    for path in sorted(folder.glob("*.yaml")):
        file = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(path)))
        for name, entry in file.get("tables", {}).items():
            tables[name] = Table(
                name=name,
                title=entry["title"],
                label=entry["label"],
                columns=entry["columns"],
                scores=file["scores"],
                joined=file.get("joined", {}).get("scores", {}),
                tuned=file.get("joined", {}).get("config", {}),
                comparable=file.get("joined", {}).get("comparable", {}),
                images=file.get("joined", {}).get("images"),
                costs=file["costs"],
                rows=[read_row(row, entry.get("shared", {}), len(entry["columns"])) for row in entry["rows"]],
                notes=[*entry["notes"], *file["notes"]],
                first=file.get("first", []),
                by_data=file.get("by_data", False),
                own=file.get("own", []),
                reference=entry.get("reference"),
            )
    return tables


def read_row(row: Mapping[str, Any], shared: Mapping[str, Any], columns: int) -> Row:
    """A row of a file, with the values that all rows of its table share."""
    published = row.get("published", [None] * columns)
    return Row(row["name"], {**shared, **row.get("config", {})}, published, row.get("beside"), row.get("label"))
