"""Training from Python, with the values that the command line takes."""

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from src.assembly.train import train as run_training
from src.command_line import CONF, explained
from src.errors import DenseSiamError, plain_errors
from src.overrides import spelled
from src.prediction.detector import Detector
from src.prediction.loading import load
from src.prediction.segmenter import Segmenter
from src.run_names import run_id


class Trained(NamedTuple):
    """A finished training run.

    Attributes:
        folder: its folder, with `scores.json`, `checkpoints/last.ckpt` and the rest.
        score: the task's primary metric in percent; nan without labels.
    """

    folder: Path
    score: float

    def load(self) -> Segmenter | Detector:
        """The trained network, see `src.prediction.loading.load`."""
        return load(self.folder / "checkpoints" / "last.ckpt")


def train(*overrides: str, output: str | Path | None = None) -> Trained:
    """Train a network and score it, as `python -m src.train` does.

    Args:
        overrides: as on the command line, such as `experiment=demo` and `data.root=DIR`.
        output: the folder of the run; None for a new one below `outputs/python`.

    Raises:
        DenseSiamError: a value is refused, or data is missing.
    """
    new = Path("outputs/python") / f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{run_id()}"
    folder = new if output is None else Path(output)
    given = [*overrides, f"paths.output={spelled(str(folder))}"]
    try:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("train", given)
    except (HydraException, OmegaConfBaseException) as error:
        raise DenseSiamError(explained(error, given, "train")) from None
    with plain_errors():
        return Trained(folder, run_training(config))
