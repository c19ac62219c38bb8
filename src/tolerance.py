"""What a run can do without: a picture or a row of a log that can't be written never ends a training."""

from contextlib import AbstractContextManager
from types import TracebackType

from lightning.pytorch.utilities import rank_zero_warn

from src.disk import disk_error_behind
from src.errors import DenseSiamError


class WarnOnce(AbstractContextManager["WarnOnce", bool]):
    """Turns the failures of a block into one warning, the first time; mistakes of the user are raised as ever.

    Args:
        what: can't be written then, with its path.
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
            rank_zero_warn(f"can't write {self.what} ({said}): the run goes on without, and warns no more")
        return True
