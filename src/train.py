"""Train and score: `python -m src.train experiment=NAME`."""

import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from src.command_line import CONF, run
from src.console import hush_libraries
from src.errors import plain_errors


@hydra.main(config_path=str(CONF), config_name="train", version_base="1.3")
def main(config: DictConfig) -> float:
    from src.assembly.sweeps import check_sweep  # late: help and misspelt names need no torch
    from src.assembly.train import train

    hush_libraries()
    with plain_errors():
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            check_sweep(config, sys.argv[1:])
        return train(config)


if __name__ == "__main__":
    run(main, "train")
