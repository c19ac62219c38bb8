"""The exception for mistakes of the user, and the conversion of libraries' exceptions to it."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb
from types import TracebackType

from hydra.errors import CompactHydraException, InstantiationException
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

STRANGE_ARGUMENT = re.compile(r"unexpected keyword argument|missing \d+ required|multiple values for")
LOST_PROCESS = re.compile(r"gloo|nccl|connection (was )?(closed|reset|refused)|broken pipe", re.IGNORECASE)


class DenseSiamError(CompactHydraException):
    """A mistake that the user can correct: a wrong value, a missing file, or numbers that do not fit together.

    The message is one line and says what was expected, what was found and what to do. It is printed without a
    traceback, and the program exits with code 1. Mistakes in the code itself are ordinary exceptions.
    """

    def __init__(self, message: str) -> None:
        # File names from strangers may hold line breaks, control codes of a terminal, or bytes that are not UTF-8.
        super().__init__("".join(one if one.isprintable() else ascii(one)[1:-1] for one in message.strip()))


@contextmanager
def plain_errors() -> Iterator[None]:
    """Convert libraries' exceptions for mistakes of the user to a `DenseSiamError`; errors of our own code stay.

    If Hydra has wrapped the exception of a constructor, the original exception is raised. Ctrl-C outside of training
    ends the program with code 1.
    """
    try:
        yield
    except InstantiationException as error:
        raise _of_construction(error) from None
    except MissingMandatoryValue as error:
        raise DenseSiamError(_no_value(error)) from None  # otherwise Hydra prints OmegaConf's lines too
    except OmegaConfBaseException as error:
        raise DenseSiamError(f"the config can't be read: {_on_one_line(error)}") from None
    except KeyboardInterrupt:
        raise SystemExit("Stopped") from None
    except Exception as error:
        if _is_misconfiguration(error):
            raise DenseSiamError(f"Lightning can't do what the config says: {_on_one_line(error)}") from None
        if _is_lost_process(error):
            raise DenseSiamError(
                "another process of this run has ended, so this one can't continue: expected all of them to run to "
                "the end; its error is printed above, or the system has killed it because memory ran out"
            ) from None
        raise


def _of_construction(error: InstantiationException) -> BaseException:
    """The exception to raise instead of Hydra's."""
    cause: BaseException = error
    while isinstance(cause, InstantiationException) and cause.__cause__ is not None:
        error, cause = cause, cause.__cause__
    if isinstance(cause, DenseSiamError):
        return cause
    if isinstance(cause, ModuleNotFoundError):
        return DenseSiamError(f"{cause}; the extras are: pip install 'densesiam[timm,tensorboard]'")
    if isinstance(cause, MissingMandatoryValue):
        return DenseSiamError(_no_value(cause))
    strange = isinstance(cause, TypeError) and STRANGE_ARGUMENT.search(str(cause)) is not None
    if cause is not error and not strange and passed_our_code(cause.__traceback__):
        return cause
    found = re.search(r"full_key: (\S+)", str(error))
    key = found[1] if found else "a part of the config"
    if unknown := re.search(r"unexpected keyword argument '(\w+)'", str(cause)):
        return DenseSiamError(f"there is no value {key}.{unknown[1]}: take it out, or correct its name")
    said = _on_one_line(cause) if cause is not error else _on_one_line(error).split("full_key: ")[0].strip()
    return DenseSiamError(f"{key} can't be made from its values: {said}; change them")


def passed_our_code(traceback: TracebackType | None) -> bool:
    """Whether the error was raised inside one of our own functions, which check their arguments themselves."""
    return any(str(frame.f_globals.get("__name__")).startswith(("src.", "__main__")) for frame, _ in walk_tb(traceback))


def _is_misconfiguration(error: Exception) -> bool:
    """Whether Lightning refuses its arguments: with its own exception, or with another one raised in Lightning's code.

    Lightning is not imported here, because some commands run without it.
    """
    module = sys.modules.get("lightning.fabric.utilities.exceptions")
    if module is not None and isinstance(error, module.MisconfigurationException):
        return True
    names = [str(frame.f_globals.get("__name__")).partition(".")[0] for frame, _ in walk_tb(error.__traceback__)]
    after = names[names.index("lightning") :] if "lightning" in names else []
    return isinstance(error, TypeError | ValueError) and after[-1:] == ["lightning"] and "src" not in after


def _is_lost_process(error: Exception) -> bool:
    """Whether the error means that another process of a distributed run has ended."""
    module = sys.modules.get("torch.distributed")
    several = module is not None and module.is_available() and module.is_initialized()
    return several and isinstance(error, RuntimeError | ConnectionError) and bool(LOST_PROCESS.search(str(error)))


def _no_value(error: MissingMandatoryValue) -> str:
    return f"{error.full_key} has no value: set {error.full_key}=..."


def _on_one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
