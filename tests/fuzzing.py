"""Wrong values of the config, drawn with a fixed seed from one pool, and what a run has to do with each."""

import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from src.assembly.train import train
from src.command_line import explained, refuse_empty, refuse_no_choice
from src.errors import DenseSiamError, plain_errors
from tests.composing import composed

POOL = (
    *("null", "true", "abc", "'5'", "[]", "[1,2]", "[a]", "{a:1}", "nan", "inf", "-inf", "-1", "0", "0.5", "1", "3"),
    *("1e-30", "1e30", "-0.0", "1000000000000", "${seed}", "${nothing}", "'müller x'", "'...'", "???"),
)


def overrides(keys: Mapping[str, Sequence[str]], drawn: int) -> list[str]:
    """Of each key what is right for it, and some of the pool, alike in every run."""
    return [
        f"{key}={value}" for key, right in keys.items() for value in [*right, *random.Random(key).sample(POOL, drawn)]
    ]


def runs_or_is_refused(folder: Path, base: Sequence[str], override: str) -> None:
    """A run goes through, or ends in one line of ours."""
    said, score = "", math.nan
    try:
        refuse_empty([override])
        refuse_no_choice([override])
        config = composed(folder, *base, override)
        with plain_errors():
            score = train(config)
    except DenseSiamError as error:
        said = str(error)
    except (HydraException, OmegaConfBaseException) as error:
        said = str(DenseSiamError(explained(error, [*base, override], "train")))
    assert "\n" not in said
    assert math.isnan(score) or 0 <= score <= 100
