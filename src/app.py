"""Segment photographs in the browser: `python -m src.app ckpt_path=FILE`."""

import hydra
from omegaconf import DictConfig

from src.command_line import CONF, run
from src.console import hush_libraries
from src.errors import plain_errors


@hydra.main(config_path=str(CONF), config_name="app", version_base="1.3")
def main(config: DictConfig) -> None:
    from src.assembly.app import app  # late: help and misspelt names need no torch

    hush_libraries()
    with plain_errors():
        app(config)


if __name__ == "__main__":
    run(main, "app")
