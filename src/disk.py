"""Writing to disk: free space, files that are written completely or not at all, and messages about failures."""

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from lightning.pytorch.utilities import rank_zero_warn

from src.errors import DenseSiamError


def amount(size: int) -> str:
    """A number of bytes as text, in MB (10^6) or GB (10^9)."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def free_bytes(folder: Path) -> int:
    """Free space in bytes on the disk of a folder, which need not exist yet."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.exists(path))
    return shutil.disk_usage(existing).free


def write_whole(path: Path, write: Callable[[BinaryIO], object], keep: Callable[[], object] = lambda: None) -> None:
    """Write a file under another name, then rename it, so that a complete file exists at any time.

    Args:
        path: path of the file; its folder is made if it does not exist.
        write: writes the content into an open file.
        keep: called when the new file is complete, before it replaces the old one.

    Raises:
        OSError: the file can't be written; an old file is unchanged.
    """
    part = Path(f"{path}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        part.unlink(missing_ok=True)
        with part.open("xb") as file:  # a link of this name, which a stranger may have left, is not followed
            write(file)
            file.flush()
            os.fsync(file.fileno())
        keep()
        part.replace(path)
    except RuntimeError as error:  # torch.save wraps an OSError in an error of its own
        disk_error = disk_error_behind(error)
        if disk_error is None:
            raise
        raise disk_error from error
    finally:
        part.unlink(missing_ok=True)


def disk_error_behind(error: BaseException) -> OSError | None:
    """The OSError during which another error was raised; None if there is none."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, OSError):
        behind = behind.__cause__ or behind.__context__
    return behind


def cannot_write(path: Path, error: OSError, advice: str) -> DenseSiamError:
    """The error for a file that can't be written: its path, the reason, the free space and what to do."""
    reason = error.strerror or str(error) or type(error).__name__
    return DenseSiamError(f"can't write {path} ({reason}; {amount(free_bytes(path.parent))} free there): {advice}")


class WarnOnce(AbstractContextManager["WarnOnce", bool]):
    """A context that replaces exceptions by a warning, which is given only once. A `DenseSiamError` is still raised.

    Args:
        what: what can't be written, in words for the warning, with its path.
    """

    def __init__(self, what: str) -> None:
        self.what, self.warned = what, False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception) or isinstance(error, DenseSiamError):
            return False
        if not self.warned:
            self.warned = True
            fault = disk_error_behind(error) or error
            said = " ".join(str(fault).split()) or type(fault).__name__
            rank_zero_warn(f"can't write {self.what} ({said}): the run continues without it; this is said only once")
        return True
