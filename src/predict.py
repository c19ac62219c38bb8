"""Predict images: `python -m src.predict ckpt_path=FILE input=FOLDER output=DIR` writes label maps and overlays."""

import hydra
from omegaconf import DictConfig

from src.command_line import CONF, run
from src.console import hush_libraries
from src.errors import plain_errors


@hydra.main(config_path=str(CONF), config_name="predict", version_base="1.3")
def main(config: DictConfig) -> None:
    from src.assembly.predict import predict  # late: help and misspelt names need no torch

    hush_libraries()
    with plain_errors():
        failures = predict(config)
    if failures:
        raise SystemExit(2)


if __name__ == "__main__":
    run(main, "predict")
