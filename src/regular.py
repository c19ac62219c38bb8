"""Reading regular files only: reading a FIFO, a socket or a device could wait forever."""

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
        OSError: the file can't be opened or is not a regular file.
    """
    return open(path, "rb", opener=_open_at_once)


def _open_at_once(path: str, flags: int) -> int:
    file = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # without it, opening a FIFO waits for a writer
    mode = os.fstat(file).st_mode  # not os.stat(path): another file may have taken the path since
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # `open` itself refuses a folder
        return file
    os.close(file)
    raise OSError(errno.EINVAL, "it is a FIFO or a device, not a regular file", path)


def read_text(path: Path) -> str:
    """The content of a text file, UTF-8 with or without a byte order mark.

    Raises:
        OSError: see `open_regular`.
        UnicodeDecodeError: the content is not UTF-8.
    """
    with open_regular(path) as file, io.TextIOWrapper(file, encoding="utf-8-sig") as text:
        return text.read()


def files_in(folder: Path) -> list[str]:
    """Names of the regular files in a folder, sorted; an empty list if there is no such folder.

    Names that begin with a dot are left out. Broken links are kept, so that reading one gives an error with its name.

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
