"""Composing the project's configs inside a test."""

from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

CONF = Path(__file__).parents[1] / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def composed(output: Path, *overrides: str, name: str = "train") -> DictConfig:
    """The config that a command line with these overrides would compose, its output below a test's folder.

    Of several experiments the last one counts, so that a test can replace that of its constants.
    """
    experiments = [each for each in overrides if each.startswith("experiment=")]
    kept = [*experiments[-1:], *(each for each in overrides if not each.startswith("experiment="))]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, [f"paths.output={output}", *kept])
