"""Write a trained network for other programs: `python -m src.export ckpt_path=FILE output=FILE`."""

import hydra
from omegaconf import DictConfig

from src.command_line import CONF, run
from src.console import hush_libraries
from src.errors import plain_errors


@hydra.main(config_path=str(CONF), config_name="export", version_base="1.3")
def main(config: DictConfig) -> None:
    hush_libraries()  # before the import, which may make matplotlib report that it lists the fonts
    from src.assembly.export import export  # late: help and misspelt names need no torch

    with plain_errors():
        export(config)


if __name__ == "__main__":
    run(main, "export")
