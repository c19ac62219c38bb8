"""The table at the end of a sweep, as a callback of Hydra."""

import atexit
import os
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepTable(Callback):
    """Prints the table of a sweep after its last job, in the process that has started the jobs.

    Hydra does not call `on_multirun_end` if a job has failed. The table is then printed when the process ends, below
    the error.
    """

    def __init__(self) -> None:
        self.folder: Path | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if os.environ.get("RANK", "0") == "0":  # torchrun starts the sweep in every process
            self.folder = Path(config.hydra.sweep.dir).absolute()
            atexit.register(self.show)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        self.show()
        atexit.unregister(self.show)

    def show(self) -> None:
        """Print the table once; a table that can't be made is one line of warning."""
        folder, self.folder = self.folder, None
        if folder is None or not folder.is_dir():
            return
        if [path.name for path in folder.iterdir()] == ["multirun.yaml"]:  # the values were refused before any job
            return
        try:
            from src.results.sweep_table import print_sweep  # late: help and misspelt names need no torch
            from src.results.sweeps import read_sweep

            print_sweep(read_sweep(folder))
        except Exception as error:  # the results are on the disk; a table must not end the command with an error
            reason = " ".join(str(error).split()) or type(error).__name__
            print(f"warning: can't show the table of {folder} ({reason})", file=sys.stderr)
