"""Runs in wandb: begun online if it can be reached and offline otherwise, under an id, and closed by each job."""

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import wandb
from lightning.pytorch.utilities import rank_zero_warn
from wandb.sdk.wandb_run import Run

from src.disk import WarnOnce
from src.errors import DenseSiamError

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Seconds to wait for the server, for an answer to the question for a key, and for the last uploads of a run.
PATIENCE = {"init_timeout": 30, "login_timeout": 60, "finish_timeout": 300}
STEP = "trainer/global_step"


def new_id() -> str:
    """A random id of a run."""
    return secrets.token_hex(4)


def check_id(name: str, value: Any) -> None:
    """Refuse an id of a run that wandb would not accept, or that is no id at all.

    Raises:
        DenseSiamError: the value is something else.
    """
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise DenseSiamError(f"{name} is {value!r}: expected a wandb run's id, 1 to 64 letters, digits, - and _")


def begin(options: Mapping[str, Any]) -> Run:
    """Begin a run; if wandb can't be reached, or has no key, begin it offline, with one warning.

    Args:
        options: of `wandb.init`, `dir` among them.

    Raises:
        DenseSiamError: wandb refuses the options.
    """
    try:
        run = wandb.init(settings=dict(PATIENCE), **options)
    except (wandb.errors.Error, OSError) as error:  # a TimeoutError of the question for a key is an OSError
        try:
            run = wandb.init(**{**options, "mode": "offline"})
        except wandb.errors.Error as refused:
            raise DenseSiamError(f"wandb can't start a run: {one_line(refused)}: change logger.wandb") from None
        rank_zero_warn(
            f"wandb can't be reached ({one_line(error)}): the run is kept in {options['dir']}/wandb, and "
            "`wandb sync` sends it later; WANDB_MODE=offline keeps it there without trying"
        )
    except (TypeError, ValueError) as refused:  # an option that wandb does not have, or of another type
        raise DenseSiamError(
            f"wandb can't start a run: {' '.join(str(refused).split())}: change logger.wandb"
        ) from None
    run.define_metric(STEP)
    run.define_metric("*", step_metric=STEP, step_sync=True)
    return run


def one_line(error: Exception) -> str:
    """The first line of what an error says."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__).strip().rstrip(".:")


@contextmanager
def wandb_closed() -> Iterator[None]:
    """Close the wandb run of an earlier job first, and that of this job at its end, also if it ends by an error."""
    finished = WarnOnce("the end of the wandb run")
    with finished:
        wandb.finish()
    status = 1
    try:
        yield
        status = 0
    finally:
        with finished:
            wandb.finish(exit_code=status)
