"""Lightning's loggers, changed so that a logger that can't write gives one warning and does not end the training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only
from wandb.sdk.wandb_run import Run

from src.checks import check_flag
from src.disk import WarnOnce, cannot_write
from src.training.csv_rows import CsvRows
from src.training.wandb_runs import begin, check_id, new_id

Rows = Sequence[Sequence[str | float | None]]


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

    def log_scores(self, columns: Sequence[str], rows: Rows, summary: Mapping[str, float], step: int) -> None:
        """Log the scores of the whole run if the logger can show tables.

        Args:
            columns: names of the columns, the label of the row first.
            rows: cells of each row, None for a score that is undefined; empty without labels.
            summary: the values by which runs of a sweep are compared.
            step: number of training steps.
        """


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
    """Lightning's TensorBoard logger, see `Tolerant`. The config is shown beside the scores when the run ends.

    Args:
        save_dir, name, version: the folder is `save_dir/name/version`.
    """

    def __init__(self, save_dir: str, name: str = "", version: str = "tensorboard", **options: Any) -> None:
        super().__init__(save_dir=save_dir, name=name, version=version, default_hp_metric=False, **options)

    @rank_zero_only
    def log_scores(self, columns: Sequence[str], rows: Rows, summary: Mapping[str, float], step: int) -> None:
        with self.tolerated:
            if rows:
                lines = [columns, ["---"] * len(columns), *rows]
                table = "\n".join(f"| {' | '.join(map(shown, line))} |" for line in lines)
                self.experiment.add_text("scores", table, step)
            if summary:
                self.log_hyperparams(self.hparams, dict(summary), step)
            self.experiment.flush()


class Wandb(Tolerant, WandbLogger):
    """Lightning's wandb logger, see `Tolerant`. Without a key or a network, the run is kept offline.

    Args:
        save_dir: folder of wandb's own files.
        project: the project in wandb.
        id: the id of the run; None for a new one.
        offline: whether the run is kept on this machine from the beginning.
        options: of `wandb.init`, such as `name`, `group`, `job_type`, `tags` and `entity`.

    Raises:
        DenseSiamError: the id is none; or wandb refuses the options when hyperparameters are logged.
    """

    def __init__(
        self, save_dir: str, project: str = "densesiam", id: str | None = None, offline: bool = False, **options: Any
    ) -> None:
        super().__init__(save_dir=save_dir, project=project, id=id)
        if id is not None:
            check_id("logger.wandb.id", id)
        check_flag("logger.wandb.offline", offline)
        self.given = id is not None
        self.options = {"dir": save_dir, "project": project, "id": id or new_id(), "resume": "allow", **options}
        self.options |= {"mode": "offline"} if offline else {}
        self.run: Run | None = None

    @property
    @rank_zero_experiment
    def experiment(self) -> Run:
        if self.run is None:
            self.run = begin(self.options)
        return self.run

    @property
    def version(self) -> str:
        """The id of the run."""
        return str(self.options["id"])

    def go_on_with(self, id: str) -> None:
        """Continue the run with this id, unless the user has given another one. Call it before anything is logged."""
        if not self.given:
            self.options["id"] = id

    @rank_zero_only
    def log_scores(self, columns: Sequence[str], rows: Rows, summary: Mapping[str, float], step: int) -> None:
        with self.tolerated:
            if rows:
                self.log_table("scores", list(columns), [list(row) for row in rows], step=step)
            self.experiment.summary.update(dict(summary))


def shown(value: Any) -> str:
    """A cell of a table as text."""
    return f"{value:.1f}" if isinstance(value, float) else "-" if value is None else str(value)
