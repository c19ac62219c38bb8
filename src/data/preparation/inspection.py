"""Checks of a download: whether all files exist, none is empty, and a sample of them can be decoded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from src.data.preparation.downloads import Part
from src.data.preparation.processes import for_each
from src.errors import DenseSiamError
from src.images.reading import open_image, open_label

NAMED = 3  # number of files that a message names at most


@dataclass(frozen=True)
class Finding:
    """What was found of one part.

    Args:
        part: the expected part.
        found: number of files.
        size: size of all files in bytes.
        decoded: number of files that were decoded.
        missing: what is missing, one line each.
        damaged: what is damaged, one line each.
    """

    part: Part
    found: int
    size: int
    decoded: int
    missing: tuple[str, ...]
    damaged: tuple[str, ...]

    @property
    def state(self) -> str:
        """The state in one or two words; every state except `ok` and `not there` means a fault."""
        if not self.found:
            return "not there" if self.part.optional else "missing"
        words = ["incomplete"] if self.missing else []
        return ", ".join(words + (["damaged"] if self.damaged else [])) or "ok"

    @property
    def needed(self) -> bool:
        """Whether the part has a fault and every run needs the part."""
        return self.state != "ok" and not self.part.optional


def inspect(root: Path, part: Part, sample: int | None, workers: int) -> Finding:
    """Check a part of a data set.

    Args:
        root: folder of the data set.
        part: the part.
        sample: how many files are decoded, evenly spread over the sorted names; None for all.
        workers: number of processes that decode.
    """
    files = part.files(root)
    sizes = [path.stat().st_size for path in files]
    chosen = [] if part.kind == "other" else _spread(files, sample)
    fault_in = partial(_fault, open_image if part.kind == "images" else open_label)
    faults = [fault for fault in for_each(fault_in, chosen, workers, f"decoding {part.folder}") if fault]
    return Finding(
        part=part,
        found=len(files),
        size=sum(sizes),
        decoded=len(chosen),
        missing=tuple(_missing(root, part, files)),
        damaged=tuple(
            _damaged(root, part, [path for path, size in zip(files, sizes, strict=True) if not size], faults)
        ),
    )


def _missing(root: Path, part: Part, files: Sequence[Path]) -> list[str]:
    lines = []
    if len(files) < part.count:
        lines.append(f"{part.count - len(files):,} of {part.count:,} files missing" if part.count > 1 else "missing")
    if not files:
        return lines
    there = {part.id_of(path, root) for path in files}
    for ids in part.ids:
        try:
            wanted = ids.read(root)
        except DenseSiamError as error:
            lines.append(str(error))
            continue
        if len(wanted) != ids.count:
            lines.append(f"{ids.name} has {len(wanted):,} ids: expected {ids.count:,}")
        absent = [f"{one}{part.suffix}" for one in wanted if one not in there]
        if absent:
            lines.append(f"{len(absent):,} of the {len(wanted):,} ids of {ids.name} have no file: {_first(absent)}")
    return lines


def _damaged(root: Path, part: Part, empty: Sequence[Path], faults: Sequence[str]) -> list[str]:
    lines = []
    if empty:
        lines.append(f"empty files ({len(empty):,}): {_first([path.name for path in empty])}")
    if faults:
        more = f" (and {len(faults) - 1:,} more)" if len(faults) > 1 else ""
        lines.append(f"{faults[0]}{more}")
    known = [name for name in part.broken if any((root / part.folder).glob(f"**/{name}"))]
    if known:
        lines.append(f"{', '.join(known)} is broken as published: remove it")
    return lines


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def _spread(files: Sequence[Path], sample: int | None) -> Sequence[Path]:
    """A sample of the files, evenly spread, with the first and the last file."""
    if sample is None or sample >= len(files):
        return files
    return [files[index] for index in np.linspace(0, len(files) - 1, sample).round().astype(int)]


def _fault(read: Callable[[Path], object], path: Path) -> str:
    try:
        read(path)
    except DenseSiamError as error:
        return str(error)
    return ""
