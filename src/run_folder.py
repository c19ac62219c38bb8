"""A run's folder: one of its own by default, and never that of another run."""

import os
import platform
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from hashlib import sha256
from io import FileIO
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from src.disk import cannot_write
from src.errors import DenseSiamError

try:
    import fcntl
except ImportError:  # not on Windows; there the names alone keep runs apart
    fcntl = None  # type: ignore[assignment]

Command = Callable[[DictConfig], float]
OTHER = "choose another folder with paths.output=DIR"
LOCK = ".run"  # the file that a run holds a lock on; it stays, as removing it would let two runs in
RESULTS = ("scores.json", "csv/metrics.csv", "checkpoints/*.ckpt", "*.ckpt")
LAUNCHED = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID", "SLURM_STEP_ID")


def run_id() -> str:
    """Six hexadecimal digits that tell runs of the same second apart, the same in all processes of a run."""
    launched = "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1
    shared = ":".join(os.environ.get(name, "") for name in LAUNCHED)
    return sha256(shared.encode()).hexdigest()[:6] if launched else secrets.token_hex(3)


RUN_ID = run_id()
OmegaConf.register_new_resolver("run_id", lambda: RUN_ID, replace=True)


def in_own_folder(resumes: bool) -> Callable[[Command], Command]:
    """Have a command hold its folder `paths.output` while it runs.

    Args:
        resumes: whether `ckpt_path` is a checkpoint to go on from, whose folder may be written to again.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def held(config: DictConfig) -> float:
            with own_folder(Path(config.paths.output), config.ckpt_path if resumes else None):
                return command(config)

        return held

    return decorate


@contextmanager
def own_folder(folder: Path, ckpt_path: str | None) -> Iterator[None]:
    """Hold a folder that no other run writes to or has left results in. Process 0 does so for all.

    The lock is the system's: it goes with the process, however that ends. Some network file systems have none.

    Args:
        folder: made if there is none.
        ckpt_path: to go on from; a run that goes on from a checkpoint in the folder may use it again.

    Raises:
        DenseSiamError: the folder is another run's, or can't be written.
    """
    if getattr(rank_zero_only, "rank", 0):
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("ab+", buffering=0)
    except OSError as error:
        raise cannot_write(folder, error, OTHER) from error
    with file:
        if not lock(file):
            file.seek(0)
            raise DenseSiamError(
                f"{folder} is in use by another run, {file.read().decode() or 'just started'}: {OTHER}"
            )
        found = next((path for pattern in RESULTS for path in sorted(folder.glob(pattern))), None)
        inside = ckpt_path is not None and Path(ckpt_path).resolve().is_relative_to(folder.resolve())
        if found and not inside:
            raise DenseSiamError(f"{folder} holds another run's {found.relative_to(folder)}: {OTHER}")
        file.truncate(0)
        try:
            file.write(f"process {os.getpid()} on {platform.node()}".encode())
        except OSError as error:
            raise cannot_write(folder, error, f"make room, or {OTHER}") from error
        yield


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
