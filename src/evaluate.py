"""Score a checkpoint: `python -m src.evaluate ckpt_path=FILE`, on the data it was trained with or elsewhere."""

import hydra
from omegaconf import DictConfig

from src.command_line import CONF, run
from src.console import hush_libraries
from src.errors import plain_errors


@hydra.main(config_path=str(CONF), config_name="evaluate", version_base="1.3")
def main(config: DictConfig) -> float:
    from src.assembly.evaluate import evaluate  # late: help and misspelt names need no torch

    hush_libraries()
    with plain_errors():
        return evaluate(config)


if __name__ == "__main__":
    run(main, "evaluate")
