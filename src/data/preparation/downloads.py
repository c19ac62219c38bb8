"""Descriptions of the downloads of a data set: archives, parts and lists of ids."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rich.filesize import decimal


@dataclass(frozen=True)
class Archive:
    """An archive as its authors publish it.

    Args:
        name: name of the file.
        source: its address, or the page that offers it and what is needed there, such as an account.
        size: bytes; 0 if unknown.
        into: folder below the root in which it is unpacked.
    """

    name: str
    source: str
    size: int
    into: str = ""

    def __str__(self) -> str:
        size = f" ({decimal(self.size)})" if self.size else ""
        return f"{self.name}{size} from {self.source}"


@dataclass(frozen=True)
class Ids:
    """A list of ids, each of which must have a file in a part.

    Args:
        name: name of the list in messages.
        count: number of ids in the list.
        read: returns the ids, given the root; no ids if the list itself is missing.
    """

    name: str
    count: int
    read: Callable[[Path], Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Files of one kind in one folder.

    Args:
        folder: folder below the root.
        pattern: pattern of the files below the folder; its last `*` stands for the end of the id.
        count: number of files that are published, without the `broken` ones.
        archives: archives that hold the files.
        kind: `images` and `labels` can be decoded, `other` can't.
        in_copy: what a copy with smaller training images does with the files.
        ids: lists of ids; every id must have a file.
        scored: ids whose files the copy holds unchanged, for every value of `in_copy`.
        optional: what the part is used for, if some runs don't need it; "" if every run needs it.
        broken: names of files that are damaged in the published archive.
    """

    folder: str
    pattern: str
    count: int
    archives: tuple[Archive, ...]
    kind: Literal["images", "labels", "other"]
    in_copy: Literal["resized", "unchanged", "left out"]
    ids: tuple[Ids, ...] = ()
    scored: Ids | None = None
    optional: str = ""
    broken: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.folder}/{self.pattern}"

    @property
    def suffix(self) -> str:
        """The part of a file name after the id."""
        return self.pattern.rpartition("*")[2]

    def files(self, root: Path) -> list[Path]:
        """The regular files of this part below a root, sorted, without hidden files and `broken` ones."""
        paths = (root / self.folder).glob(self.pattern)
        seen = (path for path in paths if not path.name.startswith(".") and path.name not in self.broken)
        return sorted(path for path in seen if path.is_file())

    def id_of(self, path: Path, root: Path) -> str:
        """The id of one of the files: its path below the folder, without the suffix."""
        return path.relative_to(root / self.folder).as_posix().removesuffix(self.suffix)

    def all_ids(self, root: Path) -> list[str]:
        """The ids of all files below a root."""
        return [self.id_of(path, root) for path in self.files(root)]


def in_copy(parts: Sequence[Part]) -> list[Part]:
    """The parts, and the files of each, that a copy with smaller training images is expected to hold."""
    unscored = [part for part in parts if part.in_copy != "left out"]
    scored = [
        replace(part, count=part.scored.count, ids=(part.scored,))
        for part in parts
        if part.in_copy == "left out" and part.scored
    ]
    return unscored + scored
