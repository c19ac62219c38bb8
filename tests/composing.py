"""Composing the project's configs inside a test."""

from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from src.command_line import CONF  # which registers the resolvers of the config

# The demo on a few scenes: two steps and no checkpoint, or epochs of two steps each.
TINY = ("experiment=demo", "debug=tiny", "data.train_scenes=8", "data.val_scenes=5", "data.scene_size=32")
TINY_EPOCHS = (*TINY, "trainer.fast_dev_run=false")
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def composed(output: Path, *overrides: str, name: str = "train") -> DictConfig:
    """The config that a command line with these overrides would compose, its output below a test's folder.

    Of several experiments the last one counts, so that a test can replace that of its constants. With `debug=tiny`,
    what takes most of the time of such a run is cut short, unless the overrides say otherwise.
    """
    experiments = [each for each in overrides if each.startswith("experiment=")][-1:]
    kept = [*experiments, *(each for each in overrides if not each.startswith("experiment="))]
    short = []
    if "debug=tiny" in overrides and name == "train":
        short = ["protocol.resamples=10"]
        if experiments and experiments[0].endswith("_pretrain"):
            short.append("task.linear_probe.max_iterations=10")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, [f"paths.output={output}", *short, *kept])
