"""What a prediction on files leaves: label maps, overlays, arrays, a summary, a legend and a record."""

import csv
import errno
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from src.disk import cannot_write, write_whole
from src.drawing.colours import index_image, overlay
from src.drawing.legend import legend
from src.errors import DenseSiamError
from src.prediction.clusters import Clusters
from src.regular import open_regular, read_text

RECORD, SUMMARY, FAILED, LEGEND = "predict.json", "summary.csv", "failed.txt", "legend.png"
FORMULA = ("=", "+", "-", "@")  # with these, a spreadsheet takes a cell for a formula

ABOUT_THE_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EILSEQ)


class UnwritableNameError(DenseSiamError):
    """A result can't be written because of its name; other results can."""


class Result(NamedTuple):
    """The prediction for an image.

    Attributes:
        image: the image, RGB.
        clusters: (H, W) uint8.
        arrays: further arrays by name; empty if none were asked for.
    """

    image: Image.Image
    clusters: NDArray[np.uint8]
    arrays: Mapping[str, NDArray[Any]]


class Row(NamedTuple):
    """A row of the summary: width and height of an image in pixels, and the number of pixels of each cluster."""

    width: int
    height: int
    pixels: NDArray[np.int64]


class Results:
    """The folder of the results.

    Args:
        folder: the folder.
        clusters: names and colours of the clusters.
        with_overlays, with_arrays: which files there are for each image besides its label map.
    """

    def __init__(self, folder: Path, clusters: Clusters, with_overlays: bool, with_arrays: bool) -> None:
        self.folder, self.clusters = folder, clusters
        kinds = {"clusters": ".png", "overlays": ".png" * with_overlays, "arrays": ".npz" * with_arrays}
        self.suffixes = {kind: suffix for kind, suffix in kinds.items() if suffix}

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
        indices = index_image(result.clusters, self.clusters.palette)
        # Level 1 takes a third of the time of Pillow's default, for a file that is a few percent larger.
        pictures = {"clusters": indices}
        if "overlays" in self.suffixes:
            pictures["overlays"] = overlay(result.image, indices)
        for kind, picture in pictures.items():
            content = io.BytesIO()
            picture.save(content, "PNG", compress_level=1)
            self._write(self.path(kind, name), content.getvalue())
        if "arrays" in self.suffixes:
            content = io.BytesIO()
            np.savez(content, allow_pickle=False, names=np.array(self.clusters.names), **dict(result.arrays))
            self._write(self.path("arrays", name), content.getvalue())
        return self._row(result.clusters)

    def written_before(self, name: str) -> Row | None:
        """The row of an image whose results exist; None if its label map can't be read."""
        try:
            with open_regular(self.path("clusters", name)) as file, Image.open(file, formats=("PNG",)) as image:
                return self._row(np.asarray(image)) if image.mode == "P" else None
        except Exception:  # damaged bytes make Pillow's decoders raise nearly anything
            return None

    def _row(self, clusters: NDArray[Any]) -> Row:
        counts = np.bincount(clusters.ravel(), minlength=len(self.clusters.names))
        return Row(clusters.shape[1], clusters.shape[0], counts)

    def finish(self, rows: Mapping[str, Row], failed: Mapping[str, str]) -> None:
        """Write the summary, the legend and the list of failures.

        Args:
            rows: by the name of the image.
            failed: the errors of the images that could not be predicted.

        Raises:
            DenseSiamError: a file can't be written.
        """
        names = self.clusters.names
        content = io.StringIO()
        table = csv.writer(content)
        table.writerow(["file", "width", "height", *(f"{place} {name}" for place, name in enumerate(names))])
        for name, row in rows.items():
            safe = f"./{name}" if name.startswith(FORMULA) else name
            table.writerow([safe, row.width, row.height, *(f"{share:.4f}" for share in _shares([row], len(names)))])
        self._write(self.folder / SUMMARY, content.getvalue().encode(errors="backslashreplace"))
        lines = [self.clusters.line(place, share) for place, share in enumerate(_shares(rows.values(), len(names)))]
        picture = io.BytesIO()
        legend(self.clusters.palette, lines, self.clusters.note).save(picture, "PNG")
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


def _shares(rows: Iterable[Row], number: int) -> list[float]:
    """The share of each of so many clusters in the pixels of some images; zeros without images."""
    counts = sum((row.pixels for row in rows), np.zeros(number, np.int64))
    shares: list[float] = (counts / max(int(counts.sum()), 1)).tolist()
    return shares
