"""`previous.ckpt`: the checkpoint before `last.ckpt`, kept in the same folder."""

import os
from pathlib import Path

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"


def keep_previous(last: Path) -> None:
    """Give the file `last` the second name `previous.ckpt`, so that `last` can be replaced. Nothing is copied.

    Raises:
        OSError: the folder can't be written to.
    """
    previous = last.with_name(PREVIOUS)
    link = Path(f"{previous}.part")
    link.unlink(missing_ok=True)
    try:
        os.link(last, link)
        link.replace(previous)
    except OSError:  # a file system without hard links: until `last` is written again, only `previous.ckpt` exists
        last.replace(previous)
    finally:
        link.unlink(missing_ok=True)  # `replace` leaves it if both names were the same file already


def previous_beside(path: Path) -> Path | None:
    """The `previous.ckpt` in the folder of `path`, if `path` is a `last.ckpt`, existing or not; None otherwise."""
    previous = path.with_name(PREVIOUS)
    return previous if path.name == LAST and previous.is_file() else None


def hint(path: Path) -> str:
    """The end of a message about a `last.ckpt` that can't be read: it names an existing `previous.ckpt`, or is ""."""
    previous = previous_beside(path)
    return "" if previous is None else f"; the checkpoint before it is {previous}"
