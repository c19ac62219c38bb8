"""A run's folder: one of its own by default, and never that of another run."""

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from io import FileIO
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from src.checks import check_filled, check_text
from src.disk import cannot_write
from src.errors import DenseSiamError

try:
    import fcntl
except ImportError:  # not on Windows; there the names alone keep runs apart
    fcntl = None  # type: ignore[assignment]

Command = Callable[[DictConfig], float]
OTHER = "choose another folder with paths.output=DIR"
LOCK = ".run"  # the file that a run holds a lock on; it stays, as removing it would let two runs in


def in_own_folder(resumes: bool) -> Callable[[Command], Command]:
    """Have a command hold its folder `paths.output` while it runs.

    Args:
        resumes: whether `ckpt_path` is a checkpoint to go on from, whose folder may be written to again.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def held(config: DictConfig) -> float:
            check_filled(config.paths.output, "paths.output")
            check_text("paths.output", config.paths.output)
            ckpt_path = str(config.ckpt_path) if resumes and config.ckpt_path is not None else None
            checkpoints = OmegaConf.select(config, "callbacks.checkpoint.dirpath")
            with own_folder(Path(config.paths.output), ckpt_path, checkpoints):
                return command(config)

        return held

    return decorate


@contextmanager
def own_folder(folder: Path, ckpt_path: str | None = None, checkpoints: str | None = None) -> Iterator[None]:
    """Hold a folder that no other run writes to or has left results in. Process 0 does so for all.

    The lock is the system's: it goes with the process, however that ends. Some network file systems have none.

    Args:
        folder: made if there is none.
        ckpt_path: to go on from; a run that goes on from a checkpoint in the folder may use it again.
        checkpoints: where they are written, if that is elsewhere.

    Raises:
        DenseSiamError: the folder is another run's, or can't be written.
    """
    if getattr(rank_zero_only, "rank", 0):
        yield
        return
    with opened(folder) as file:
        if not lock(file):
            raise DenseSiamError(
                f"{folder} is in use by another run, {file.read().decode() or 'just started'}: {OTHER}"
            )
        check_free(folder, Path(checkpoints or folder / "checkpoints"), ckpt_path)
        sign(file, folder)
        try:
            yield
        finally:
            unlock(file)


def opened(folder: Path) -> FileIO:
    """The file to lock in a folder, open for reading and writing.

    Raises:
        DenseSiamError: the folder can't be made, or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / LOCK).touch()
        return (folder / LOCK).open("rb+", buffering=0)
    except OSError as error:
        raise cannot_write(folder, error, OTHER) from error


def check_free(folder: Path, checkpoints: Path, ckpt_path: str | None) -> None:
    """Refuse a folder that holds results of a run, other than the one to go on with; arguments as in `own_folder`.

    Raises:
        DenseSiamError: naming such a result.
    """
    resumed = None if ckpt_path is None else Path(ckpt_path).resolve()
    if resumed and any(resumed.is_relative_to(place.resolve()) for place in (folder, checkpoints)):
        return
    results = [folder / "scores.json", folder / "csv" / "metrics.csv", *sorted(checkpoints.glob("*.ckpt"))]
    found = next((path for path in results if path.exists()), None)
    if found:
        raise DenseSiamError(f"{found} is another run's: {OTHER}")


def sign(file: FileIO, folder: Path) -> None:
    """Say in the file who holds it, for the message to others.

    Raises:
        DenseSiamError: the disk is full.
    """
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}".encode())
    except OSError as error:
        raise cannot_write(folder, error, f"make room, or {OTHER}") from error


def lock(file: FileIO) -> bool:
    """Lock a file for this process, without waiting; False if another has locked it."""
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # what a lock of another is called depends on the file system
        return False
    except OSError:  # a file system without locks
        return True
    return True


def unlock(file: FileIO) -> None:
    """Give a lock back, also where loader processes still have the file open."""
    with suppress(OSError):
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_UN)
