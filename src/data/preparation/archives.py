"""Unpacking of zip and tar archives: writes nothing outside the target, leaves no partial files, can be resumed."""

import gzip
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import IO

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from src.errors import DenseSiamError
from src.regular import open_regular

CHUNK = 1 << 20
DAMAGED = (  # raised for damaged bytes; RuntimeError also for unknown encryption and compression methods
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, ValueError, RuntimeError),
)


@dataclass(frozen=True)
class Entry:
    """A file, link or device in an archive (folders are not listed).

    Args:
        name: path in the archive.
        size: bytes, as the archive declares them.
        plain: whether it is a regular file.
        open: opens the content for reading.
    """

    name: str
    size: int
    plain: bool
    open: Callable[[], IO[bytes] | None]


@dataclass(frozen=True)
class Unpacked:
    """The number of files that were written, and of files that existed already."""

    written: int
    skipped: int


def free_bytes(folder: Path) -> int:
    """Free space of the disk that holds a folder, in bytes."""
    return shutil.disk_usage(folder).free


def unpack(archive: Path, target: Path, free: Callable[[Path], int] = free_bytes) -> Unpacked:
    """Unpack the files of an archive. Files that exist with the declared size are skipped, so that it can be resumed.

    Every file is written under another name and renamed when it is complete. Owners, permissions and times are not
    restored.

    Args:
        archive: a `.zip` file, or a tar file with any compression that Python knows.
        target: folder; it is made if it does not exist.
        free: returns the free space of the disk that holds a folder, in bytes.

    Raises:
        DenseSiamError: the archive is damaged or incomplete, has an entry outside the target, a link, a device, or two
            entries that exclude each other, or is larger than the free space; or a path below the target is a link.
    """
    opened = _zip_entries if archive.suffix.lower() == ".zip" else _tar_entries
    with ExitStack() as stack:
        try:
            entries = stack.enter_context(opened(archive))
        except (*DAMAGED, OSError) as error:
            size = f", {archive.stat().st_size} bytes" if archive.is_file() else ""
            raise DenseSiamError(
                f"can't open {archive}{size} ({_said(error)}): expected a complete archive; download it again"
            ) from error
        _check(archive, entries)
        _check_places(archive, entries, target)
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DenseSiamError(f"can't make the folder {target} ({_said(error)}): choose another") from error
        waiting = [entry for entry in entries if _size(target / entry.name) != entry.size]
        needed, room = sum(entry.size for entry in waiting), free(target)
        if needed > room:
            raise DenseSiamError(
                f"unpacking {archive} needs {decimal(needed)} ({needed} bytes), but {target} has {decimal(room)} "
                f"({room} bytes) free: make room or choose another folder"
            )
        with _progress() as progress:
            task = progress.add_task(archive.name, total=needed)
            for entry in waiting:
                _write(entry, archive, target / entry.name, lambda count: progress.advance(task, count))
    return Unpacked(len(waiting), len(entries) - len(waiting))


@contextmanager
def _zip_entries(archive: Path) -> Iterator[list[Entry]]:
    def entry(info: zipfile.ZipInfo) -> Entry:
        kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was made without Unix modes
        return Entry(info.filename, info.file_size, kind in (0, stat.S_IFREG), lambda: file.open(info))

    with open_regular(archive) as content, zipfile.ZipFile(content) as file:
        yield [entry(info) for info in file.infolist() if not info.is_dir()]


@contextmanager
def _tar_entries(archive: Path) -> Iterator[list[Entry]]:
    def entry(member: tarfile.TarInfo) -> Entry:
        return Entry(member.name, member.size, member.isreg(), lambda: file.extractfile(member))

    with open_regular(archive) as content, tarfile.open(fileobj=content) as file:
        members = file.getmembers()
        file.fileobj.seek(file.offset)
        while chunk := file.fileobj.read(CHUNK):  # to the end: a compressed file has its checksum there
            if chunk.strip(b"\0"):  # tarfile mistakes a damaged header for the end
                raise tarfile.ReadError(f"what follows {members[-1].name if members else 'its start'} is no entry")
        yield [entry(member) for member in members if not member.isdir()]


def _check(archive: Path, entries: Sequence[Entry]) -> None:
    """Refuse entries that are not plain files below the target (on any system), and entries that exclude each other."""
    files = Counter(Path(entry.name) for entry in entries)
    for entry in entries:
        path = PureWindowsPath(entry.name)  # knows both separators and drive letters
        place = Path(entry.name)
        if path.anchor or ".." in path.parts or not path.parts:
            found, expected = "lies outside the target folder", "paths below it only"
        elif "\0" in entry.name:
            found, expected = "can't be the name of a file", "names that can"
        elif not entry.plain:
            found, expected = "is a link or device", "plain files only"
        elif files[place] > 1:
            found, expected = f"it holds {files[place]} times", "each file once"
        elif any(parent in files for parent in (*place.parents, _part_of(place))):
            found, expected = "is in the way of another entry", "each place for one file or folder"
        else:
            continue
        raise DenseSiamError(
            f"{archive} holds {entry.name!r}, which {found}: expected {expected}; get the archive from its authors"
        )


def _check_places(archive: Path, entries: Sequence[Entry], target: Path) -> None:
    """Refuse links below the target: files would be written to the place that they point to.

    The target itself may be a link.
    """
    files = (Path(entry.name) for entry in entries)
    for place in sorted({one for file in files for one in (file, *file.parents[:-1])}):
        if os.path.islink(target / place):
            raise DenseSiamError(
                f"{target / place} is a link: expected a folder or file of {target} itself, as {archive} is unpacked "
                "there; remove the link, or choose another folder"
            )


def _write(entry: Entry, archive: Path, path: Path, advance: Callable[[int], None]) -> None:
    """Write an entry completely or not at all."""
    part = _part_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        source = entry.open()
        assert source is not None  # it is None for folders only
        part.unlink(missing_ok=True)  # left by a killed process, or a link, which must not be followed
        with source, part.open("xb") as file:
            while chunk := source.read(CHUNK):
                file.write(chunk)
                advance(len(chunk))
        if _size(part) != entry.size:
            raise EOFError(f"{_size(part)} of {entry.size} bytes")
        os.replace(part, path)
    except DAMAGED as error:
        raise DenseSiamError(f"{archive} is damaged at {entry.name} ({_said(error)}): download it again") from error
    except OSError as error:
        raise DenseSiamError(f"can't unpack {entry.name} of {archive} to {path} ({_said(error)})") from error
    finally:
        with suppress(OSError):
            part.unlink()


def _part_of(path: Path) -> Path:
    """The name of a file while it is written."""
    return path.with_name(f"{path.name}.part")


def _size(path: Path) -> int | None:
    return path.stat().st_size if os.path.isfile(path) else None  # Path.is_file would raise for a name that is too long


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    return Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)
