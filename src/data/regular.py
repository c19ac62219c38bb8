"""Regular files alone: nothing waits for what a FIFO, a socket or a device may hold one day."""

import errno
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

from src.errors import DenseSiamError


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file, or a link to one, for reading.

    Raises:
        OSError: it can't be opened, or is something else.
    """
    return open(path, "rb", opener=_open_at_once)


def _open_at_once(path: str, flags: int) -> int:
    file = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # to open a FIFO would wait for a writer
    mode = os.fstat(file).st_mode  # of what is open, as the path may be another file's by now
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # a folder is refused by `open`
        return file
    os.close(file)
    raise OSError(errno.EINVAL, "it is a FIFO or a device, no regular file", path)


def read_text(path: Path) -> str:
    """The content of a text file, UTF-8 with or without a byte order mark.

    Raises:
        OSError: see `open_regular`.
        UnicodeDecodeError: it is no UTF-8.
    """
    with open_regular(path) as file, io.TextIOWrapper(file, encoding="utf-8-sig") as text:
        return text.read()


def files_in(folder: Path) -> list[str]:
    """Names of the regular files in a folder, sorted; none where there is no such folder.

    Names that begin with a dot are left out. Links that lead nowhere are not: whoever reads one can name it.

    Raises:
        DenseSiamError: the folder can't be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.name[0] != "." and _is_file(entry))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DenseSiamError(f"can't list the folder {folder} ({error.strerror}): make it readable") from error


def _is_file(entry: os.DirEntry[str]) -> bool:
    leads_nowhere = entry.is_symlink() and not os.path.exists(entry.path)
    return leads_nowhere or entry.is_file()
