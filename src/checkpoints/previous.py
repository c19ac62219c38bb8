"""`previous.ckpt`: the file that `last.ckpt` replaced last, beside it."""

import os
from pathlib import Path

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"


def keep_previous(last: Path) -> None:
    """Give the whole file `last` the name `previous.ckpt` as well; it can be replaced then, and nothing is copied.

    Raises:
        OSError: the folder can't be written.
    """
    previous = last.with_name(PREVIOUS)
    link = Path(f"{previous}.part")
    link.unlink(missing_ok=True)
    try:
        os.link(last, link)
        link.replace(previous)
    except OSError:  # a file system without hard links: until `last` is written again, there is the other name alone
        last.replace(previous)
    finally:
        link.unlink(missing_ok=True)  # still there where both names had been one file already


def previous_beside(path: Path) -> Path | None:
    """The `previous.ckpt` beside a file that is, or was, `last.ckpt`; None if there is none."""
    previous = path.with_name(PREVIOUS)
    return previous if path.name == LAST and previous.is_file() else None


def hint(path: Path) -> str:
    """What a message about a `last.ckpt` that can't be read ends with: that an older one is there; else nothing."""
    previous = previous_beside(path)
    return "" if previous is None else f"; the checkpoint before it is {previous}"
