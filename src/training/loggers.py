"""Lightning's loggers, changed so that a logger that can't write gives one warning and does not end the training."""

from pathlib import Path
from typing import Any

import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from src.disk import WarnOnce, cannot_write
from src.errors import DenseSiamError
from src.training.csv_rows import CsvRows


class Tolerant(Logger):
    """A logger that continues if something can't be written.

    Hyperparameters are the exception: they are logged before the run starts, so an error costs the user no training.

    Raises:
        DenseSiamError: the folder can't be written when hyperparameters are logged.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.tolerated = WarnOnce(f"the log in {self.save_dir}")

    def log_hyperparams(self, *arguments: Any, **options: Any) -> None:
        try:
            super().log_hyperparams(*arguments, **options)  # type: ignore[safe-super]  # each logger has its own
        except OSError as error:
            folder = Path(self.save_dir or ".")
            raise cannot_write(folder, error, "make room, or choose another folder with paths.output=DIR") from error

    def log_metrics(self, *arguments: Any, **options: Any) -> None:
        with self.tolerated:
            super().log_metrics(*arguments, **options)  # type: ignore[safe-super]

    def save(self) -> None:
        with self.tolerated:
            super().save()

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        with self.tolerated:
            super().after_save_checkpoint(checkpoint_callback)

    def finalize(self, status: str) -> None:
        with self.tolerated:
            super().finalize(status)


class Csv(Tolerant, CSVLogger):
    """Writes each row to `metrics.csv` when it is logged; a resumed run appends to the rows.

    Args:
        save_dir, name, version: the folder is `save_dir/name/version`.
    """

    def __init__(self, save_dir: str, name: str, version: str) -> None:
        super().__init__(save_dir, name, version, flush_logs_every_n_steps=1)
        self.rows: CsvRows | None = None

    @property
    @rank_zero_experiment
    def experiment(self) -> CsvRows:
        if self.rows is None:
            self.rows = CsvRows(self.log_dir)
        return self.rows

    def finalize(self, status: str) -> None:
        """Write the rows that are not written yet; without any rows, no file is made."""
        if self.rows is not None:
            self.save()

    @rank_zero_only
    def go_on_from(self, step: int) -> None:
        """See `CsvRows`."""
        self.experiment.go_on_from(step)


class TensorBoard(Tolerant, TensorBoardLogger):
    """Lightning's TensorBoard logger, see `Tolerant`."""


class Wandb(Tolerant, WandbLogger):
    """Lightning's wandb logger, see `Tolerant`.

    Raises:
        DenseSiamError: wandb refuses to start a run when hyperparameters are logged, for instance without an API key.
    """

    def log_hyperparams(self, *arguments: Any, **options: Any) -> None:
        try:
            super().log_hyperparams(*arguments, **options)
        except wandb.errors.Error as error:
            said = " ".join(str(error).split())
            raise DenseSiamError(
                f"wandb can't start a run: {said} Or set WANDB_MODE=offline, which keeps the run on this machine"
            ) from None
