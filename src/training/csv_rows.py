"""The file of the CSV logger: rows are appended and written whole, and a resumed run keeps its earlier rows."""

import csv
import io
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from src.disk import write_whole
from src.regular import open_regular
from src.training.lightning_internals import AppendingWriter


class CsvRows(AppendingWriter):
    """Writes rows of metrics to `metrics.csv` and hyperparameters to `hparams.yaml`; it does not delete existing files.

    Rows that could not be written are kept and are written together with the next ones.

    Args:
        log_dir: folder of both files.
    """

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self.path, self.first_step = Path(self.metrics_file_path), 0
        self.columns: list[str] = []  # the columns of the file, sorted
        if self.path.is_file():
            self.columns, rows = read_rows(self.path)
            self.rewrite(self.columns, rows)  # removes an incomplete row that a killed run may have left

    def go_on_from(self, step: int) -> None:
        """Resume at a checkpoint: drop the rows of later steps, and do not write those of earlier steps again.

        Args:
            step: the step of the checkpoint; the rows before it have the steps 0 to `step` - 1. If the file has none of
                these rows, nothing is dropped.
        """
        if self.columns:
            _, rows = read_rows(self.path)
            self.rewrite(self.columns, [row for row in rows if int(row["step"]) < step])
            self.first_step = step

    def log_metrics(self, metrics_dict: dict[str, float], step: int | None = None) -> None:
        if step is None or step >= self.first_step:
            super().log_metrics(metrics_dict, step)

    def save(self) -> None:
        """Append the rows that are not written yet; extend the header if they have new columns.

        Raises:
            OSError: the file can't be written; the rows in it stay.
        """
        if not self.metrics:
            return
        columns = sorted({*self.columns, *(key for row in self.metrics for key in row)})
        if columns != self.columns:
            self.rewrite(columns, read_rows(self.path)[1] if self.columns else [])
            self.columns = columns
        size = self.path.stat().st_size
        try:
            with self.path.open("ab") as file:
                file.write(as_csv(self.columns, self.metrics))
        except OSError:
            with suppress(OSError):
                os.truncate(self.path, size)
            raise
        self.metrics = []

    def rewrite(self, columns: list[str], rows: Iterable[Mapping[str, Any]]) -> None:
        """Replace the file by a header and rows."""
        header = dict(zip(columns, columns, strict=True))
        write_whole(self.path, lambda file: file.write(as_csv(columns, [header, *rows])))


def as_csv(columns: list[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as CSV, in the order of the columns; the cell is empty where a row has no value."""
    text = io.StringIO(newline="")
    csv.DictWriter(text, fieldnames=columns).writerows(rows)
    return text.getvalue().encode()


def read_rows(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """The columns of a file, and its complete rows that have a number as their `step`."""
    with open_regular(path) as file:
        text = file.read().decode(errors="replace")
    whole = text[: text.rfind("\n") + 1].replace("\0", "")  # a crash of the machine may leave zero bytes
    reader = csv.DictReader(io.StringIO(whole, newline=""), restval="")
    try:
        rows = [row for row in reader if row.get("step", "").isdecimal() and None not in row]
    except csv.Error:  # a cell of more than 131,072 letters, which no run writes
        return [], []
    return list(reader.fieldnames or []), rows
