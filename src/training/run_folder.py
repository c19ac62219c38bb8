"""The folder of a run, which no other run may use at the same time or write over."""

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
except ImportError:  # Windows has no fcntl; only the folders' names separate runs there
    fcntl = None  # type: ignore[assignment]

Command = Callable[[DictConfig], float]
OTHER = "choose another folder with paths.output=DIR"
LOCK = ".run"  # the file that a run locks; it stays, because removing it would allow two runs in


def in_own_folder(resumes: bool) -> Callable[[Command], Command]:
    """Make a command lock its folder `paths.output` while it runs.

    Args:
        resumes: whether `ckpt_path` is a checkpoint to resume from, whose folder may be written to again.
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
    """Lock a folder that no other run writes to or has left results in. Process 0 does so for all processes.

    The operating system removes the lock when the process ends, for whatever reason. Some network file systems have no
    locks.

    Args:
        folder: the folder; it is made if it doesn't exist.
        ckpt_path: the checkpoint to resume from; if it lies in the folder, the folder may hold results.
        checkpoints: the folder that checkpoints are written to, if it is another one.

    Raises:
        DenseSiamError: another run uses the folder or has left results in it, or it can't be written.
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
        DenseSiamError: the folder can't be made or can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / LOCK).touch()
        return (folder / LOCK).open("rb+", buffering=0)
    except OSError as error:
        raise cannot_write(folder, error, OTHER) from error


def check_free(folder: Path, checkpoints: Path, ckpt_path: str | None) -> None:
    """Refuse a folder that holds results of a run, unless that run is resumed; the arguments are those of `own_folder`.

    Raises:
        DenseSiamError: the folder holds such results; the message names one.
    """
    resumed = None if ckpt_path is None else Path(ckpt_path).resolve()
    if resumed and any(resumed.is_relative_to(place.resolve()) for place in (folder, checkpoints)):
        return
    results = [folder / "scores.json", folder / "csv" / "metrics.csv", *sorted(checkpoints.glob("*.ckpt"))]
    found = next((path for path in results if path.exists()), None)
    if found:
        raise DenseSiamError(f"{found} is another run's: {OTHER}")


def sign(file: FileIO, folder: Path) -> None:
    """Write into the file which process holds the lock, for the messages of other runs.

    Raises:
        DenseSiamError: the disk is full.
    """
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}".encode())
    except OSError as error:
        raise cannot_write(folder, error, f"make room, or {OTHER}") from error


def lock(file: FileIO) -> bool:
    """Lock a file for this process without waiting; returns False if another process has locked it."""
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the file system decides which error a taken lock gives
        return False
    except OSError:  # a file system without locks
        return True
    return True


def unlock(file: FileIO) -> None:
    """Remove a lock, even if loader processes still have the file open."""
    with suppress(OSError):
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_UN)
