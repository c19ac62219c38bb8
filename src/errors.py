"""The one exception for mistakes of the user."""

from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import CompactHydraException, InstantiationException
from omegaconf.errors import MissingMandatoryValue


class DenseSiamError(CompactHydraException):
    """A mistake the user can correct: a wrong value, a missing file, numbers that do not fit together.

    The message is one line and says what was expected, what was found and what to do. Hydra prints it without a
    traceback and exits with code 1. Mistakes in the code itself stay ordinary exceptions.
    """

    def __init__(self, message: str) -> None:
        # A DataLoader re-raises a worker's exception with its whole traceback as the message; keep the message itself.
        said = message.rsplit(f"{type(self).__name__}: ", 1)[-1].strip()
        # A file's name may hold a line break, or bytes that are no UTF-8.
        super().__init__(said.replace("\n", "\\n").encode("utf-8", "backslashreplace").decode())


@contextmanager
def plain_errors() -> Iterator[None]:
    """Take off Hydra's wrapping of what a constructor raised, and turn strange or missing arguments into one line.

    So too Ctrl-C outside of training, which ends the program with code 1.
    """
    try:
        yield
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, TypeError):
            raise DenseSiamError(" ".join(str(error).split())) from error
        if isinstance(cause, ModuleNotFoundError):
            raise DenseSiamError(f"{cause}; the extras are: pip install 'densesiam[timm,tensorboard]'") from error
        if isinstance(cause, MissingMandatoryValue):
            raise DenseSiamError(_no_value(cause)) from None
        raise (cause or error) from None
    except KeyboardInterrupt:
        raise SystemExit("Stopped") from None
    except MissingMandatoryValue as error:
        raise DenseSiamError(_no_value(error)) from None  # Hydra would print OmegaConf's lines as well


def _no_value(error: MissingMandatoryValue) -> str:
    return f"{error.full_key} has no value: set {error.full_key}=..."
