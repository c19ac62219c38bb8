"""Checks of a sweep before one of its jobs begins."""

import os
import shlex
from collections.abc import Sequence
from typing import cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from src.errors import DenseSiamError


def check_sweep(config: DictConfig, arguments: Sequence[str]) -> None:
    """Refuse a sweep whose jobs need several processes: Lightning would start these with the command of the sweep.

    With torchrun, or as tasks of SLURM, all processes are there already and go through the jobs together.

    Args:
        config: the config of a job.
        arguments: the arguments of the command.

    Raises:
        DenseSiamError: a job uses several devices, and nothing has started a process for each of them.
    """
    if config.trainer.devices in (1, "1"):
        return
    if launcher().endswith("JoblibLauncher"):
        raise DenseSiamError(
            f"trainer.devices is {config.trainer.devices}, and joblib starts jobs side by side: their processes would "
            "meet at one port; expected one process a job, trainer=default, or one job after another without joblib"
        )
    if "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        return
    number = config.trainer.devices if type(config.trainer.devices) is int else "N"
    given = [each for each in arguments if each not in ("-m", "--multirun") and not each.startswith("hydra.sweep.dir=")]
    raise DenseSiamError(
        "a sweep over several processes needs torchrun, or each process would start the sweep anew: write "
        f"torchrun --standalone --nproc_per_node={number} -m src.train -m {shlex.join(given)} hydra.sweep.dir=DIR "
        "with a new folder DIR"
    )


def check_search(is_scored: bool) -> None:
    """Refuse a search for the best values among runs that are not scored.

    Raises:
        DenseSiamError: the sweep is a search, and nothing is scored.
    """
    if not is_scored and from_hydra("sweeper.direction") is not None:
        raise DenseSiamError(
            "a search compares runs by their scores, and nothing is scored here: expected data with labels; to only "
            "train with several values, leave out +sweep=optuna and write them as lists, seed=0,1"
        )


def launcher() -> str:
    """The class that launches the jobs of this sweep; "" outside of a sweep."""
    return str(from_hydra("launcher._target_") or "")


def from_hydra(name: str) -> object:
    """A value of Hydra's own config; None outside of a run that Hydra has started, and for an absent value."""
    return OmegaConf.select(cast(DictConfig, HydraConfig.get()), name) if HydraConfig.initialized() else None
