"""What a prediction on files leaves: a file of each kind for each image, a summary, a legend and a record."""

import csv
import errno
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from src.disk import cannot_write, write_whole
from src.errors import DenseSiamError
from src.regular import read_text

RECORD, SUMMARY, FAILED, LEGEND = "predict.json", "summary.csv", "failed.txt", "legend.png"
FORMULA = ("=", "+", "-", "@")  # with these, a spreadsheet takes a cell for a formula

ABOUT_THE_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EILSEQ)
Result = TypeVar("Result")


class UnwritableNameError(DenseSiamError):
    """A result can't be written because of its name; other results can."""


class Row(NamedTuple):
    """A row of the summary: width and height of an image in pixels, and for each cluster its pixels, or its objects."""

    width: int
    height: int
    counts: NDArray[np.int64]


class Results(ABC, Generic[Result]):
    """The folder of the results.

    Args:
        folder: the folder.
        names: the names of the clusters or classes.
        suffixes: the kinds of files that there are for each image, such as `overlays`, with their suffixes.
        note: how the names came about, for people.
    """

    def __init__(self, folder: Path, names: Sequence[str], suffixes: Mapping[str, str], note: str) -> None:
        self.folder, self.names, self.suffixes, self.note = folder, names, dict(suffixes), note

    @abstractmethod
    def contents(self, result: Result) -> Iterator[tuple[str, bytes]]:
        """The files of an image: their kinds, which are those of `suffixes`, and their contents."""

    @abstractmethod
    def row(self, result: Result) -> Row:
        """The row of an image in the summary."""

    @abstractmethod
    def written_before(self, name: str) -> Row | None:
        """The row of an image whose results exist; None if they can't be read."""

    @abstractmethod
    def headings(self) -> list[str]:
        """The headings of the summary after those of the file and its size."""

    @abstractmethod
    def cells(self, row: Row) -> list[str]:
        """What stands below `headings` for an image."""

    @abstractmethod
    def drawn_legend(self, total: NDArray[np.int64]) -> Image.Image:
        """The legend, given the counts of all images together."""

    def begin(self, record: Mapping[str, Any], overwrite: bool) -> None:
        """Make the folder and write the record of the checkpoint and the settings.

        Raises:
            DenseSiamError: the folder holds results of other images, another checkpoint or other settings, and
                `overwrite` is false; or it can't be written.
        """
        path = self.folder / RECORD
        text = json.dumps(record, indent=2) + "\n"
        try:
            same = path.exists() and read_text(path) == text
            if path.exists() and not same and not overwrite:
                raise DenseSiamError(
                    f"{self.folder} holds results of other images, of another checkpoint or of other settings, see "
                    f"{RECORD}: choose another output, or replace them with overwrite=true"
                )
            if not same:  # results that are older than their record are not taken for its results
                self._write(path, text.encode())
        except (OSError, UnicodeDecodeError) as error:
            raise DenseSiamError(f"can't use the folder {self.folder} ({error}): choose another output") from error

    def path(self, kind: str, name: str) -> Path:
        """The path of a result of an image; `name` is one of `result_names`."""
        return self.folder / kind / f"{name}{self.suffixes[kind]}"

    def exist(self, name: str, source: Path) -> bool:
        """Whether all results of an image exist, and are newer than the image and than the record of the settings."""
        try:
            changed = source.stat()
            since = max(changed.st_mtime, changed.st_ctime, (self.folder / RECORD).stat().st_mtime)
            return all(self.path(kind, name).stat().st_mtime >= since for kind in self.suffixes)
        except OSError:
            return False

    def write(self, name: str, result: Result) -> Row:
        """Write the results of an image; each file is complete or does not exist.

        Raises:
            UnwritableNameError: the name of the image can't be that of a result.
            DenseSiamError: a file can't be written.
        """
        for kind, content in self.contents(result):
            self._write(self.path(kind, name), content)
        return self.row(result)

    def finish(self, rows: Mapping[str, Row], failed: Mapping[str, str]) -> None:
        """Write the summary, the legend and the list of failures.

        Args:
            rows: by the name of the image.
            failed: the errors of the images that could not be predicted.

        Raises:
            DenseSiamError: a file can't be written.
        """
        content = io.StringIO()
        table = csv.writer(content)
        table.writerow(["file", "width", "height", *self.headings()])
        for name, row in rows.items():
            safe = f"./{name}" if name.startswith(FORMULA) else name
            table.writerow([safe, row.width, row.height, *self.cells(row)])
        self._write(self.folder / SUMMARY, content.getvalue().encode(errors="backslashreplace"))
        picture = io.BytesIO()
        total = sum((row.counts for row in rows.values()), np.zeros(len(self.names), np.int64))
        self.drawn_legend(total).save(picture, "PNG")
        self._write(self.folder / LEGEND, picture.getvalue())
        (self.folder / FAILED).unlink(missing_ok=True)
        if failed:
            text = "".join(f"{DenseSiamError(name)}\t{error}\n" for name, error in failed.items())  # on one line each
            self._write(self.folder / FAILED, text.encode())

    def _write(self, path: Path, content: bytes) -> None:
        try:
            write_whole(path, lambda file: file.write(content))
        except OSError as error:
            if error.errno in ABOUT_THE_NAME:
                raise UnwritableNameError(f"can't write {path} ({error.strerror}): rename the image") from error
            raise cannot_write(path, error, "make room, or choose another output") from error
