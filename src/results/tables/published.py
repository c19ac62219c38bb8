"""The tables of the paper: their rows, the config values by which a run belongs to one, and their numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from omegaconf import OmegaConf


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        name: as it is printed.
        values: that every run of the row has in its config; `any` for those that say nothing about it.
        published: the number of each column; None where the paper has none.
        beside: for what is scored within the runs of another row, such as a floor, the name of that row.
        label: of the scores in `scores.json`, for such a row.
    """

    name: str
    values: Mapping[str, Any]
    published: Sequence[float | None]
    beside: str | None = None
    label: str | None = None


class Table(NamedTuple):
    """A table of the paper, and which columns of ours stand beside it.

    Attributes:
        name, title, label: of the table, and of its first column.
        columns: the published ones.
        scores: ours, each a row of `scores.json` and a score in it.
        costs: ours, names of `src.results.tables.cells.COSTS`.
        rows: in their order.
        notes: what is to be known of the numbers.
        first: what is to be known before anything is read.
        by_data: whether runs on other data are another table.
        own: parts of the config that differ from row to row by nature, and are compared within a row only.
        reference: the row whose time the others' is divided by, if any.
    """

    name: str
    title: str
    label: str
    columns: Sequence[str]
    scores: Mapping[str, Sequence[str]]
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
        for name, entry in file["tables"].items():
            tables[name] = Table(
                name=name,
                title=entry["title"],
                label=entry["label"],
                columns=entry["columns"],
                scores=file["scores"],
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
