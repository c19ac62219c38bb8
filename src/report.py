"""Make the page of a finished run: `python -m src.report run=DIR`, one HTML file without anything outside of it."""

import hydra
from omegaconf import DictConfig

from src.command_line import CONF, run
from src.console import hush_libraries
from src.errors import plain_errors


@hydra.main(config_path=str(CONF), config_name="report", version_base="1.3")
def main(config: DictConfig) -> None:
    from src.assembly.report import report  # late: help and misspelt names need no torch

    hush_libraries()
    with plain_errors():
        report(config)


if __name__ == "__main__":
    run(main, "report")
