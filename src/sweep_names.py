"""The values that a sweep varies: the folders of its jobs are named by these and by nothing else."""

from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write

from src.overrides import spelled


class NamedByTheSweep(Callback):
    """Tells Hydra to leave out of `hydra.job.override_dirname` what is the same in all jobs of a sweep."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        given = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
        fixed = [each.key_or_group for each in given if not each.is_sweep_override()]
        with read_write(config), open_dict(config):
            config.hydra.overrides.hydra.append(f"hydra.job.config.override_dirname.exclude_keys={spelled(fixed)}")
