"""What a download of a data set consists of, as values: archives, parts and lists of ids."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rich.filesize import decimal


@dataclass(frozen=True)
class Archive:
    """A file as its authors publish it.

    Args:
        name: of the file.
        source: its address, or the page that has it and what that page asks for.
        size: bytes; 0 where it isn't known.
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
        name: what messages call the list.
        count: ids in it.
        read: gives the ids, from the root; none where the list itself is missing.
    """

    name: str
    count: int
    read: Callable[[Path], Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Files of one kind in one folder.

    Args:
        folder: below the root.
        pattern: of the files below the folder; its last `*` stands for the end of the id.
        count: files that are published.
        archives: that hold them.
        kind: `images` and `labels` can be decoded.
        in_copy: what a copy with smaller training images does with the files.
        ids: lists of ids that must be there.
        scored: ids whose files such a copy holds unchanged, whatever `in_copy` says.
        optional: what the part is for, if not every run needs it.
        broken: names of files that are known to be damaged as published; `count` is without them.
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
        """What follows the id in a file's name."""
        return self.pattern.rpartition("*")[2]

    def files(self, root: Path) -> list[Path]:
        """The part's regular files below a root, sorted, without hidden and `broken` ones."""
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
    """The parts that a copy with smaller training images holds: what is left out of it isn't expected there."""
    unscored = [part for part in parts if part.in_copy != "left out"]
    scored = [
        replace(part, count=part.scored.count, ids=(part.scored,))
        for part in parts
        if part.in_copy == "left out" and part.scored
    ]
    return unscored + scored
