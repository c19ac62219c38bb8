"""The rows of the CSV logger: each once, whatever stops the run, and never deleted."""

import csv
import warnings
from pathlib import Path
from typing import Any

import pytest

from src.training.csv_rows import CsvRows, read_rows
from src.training.loggers import Csv
from tests.full_disk import no_file_larger_than
from tests.refusals import refusal


def logged(folder: Path, steps: range, **more: float) -> Csv:
    logger = Csv(str(folder), "", "csv")
    for step in steps:
        logger.log_metrics({"loss": step / 4, **more}, step)
    return logger


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "csv" / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_is_on_disk_when_it_is_logged(tmp_path: Path) -> None:
    logged(tmp_path, range(2))  # and the process is killed
    assert rows(tmp_path) == [{"loss": "0.0", "step": "0"}, {"loss": "0.25", "step": "1"}]


def test_a_run_that_goes_on_has_each_row_once(tmp_path: Path) -> None:
    logged(tmp_path, range(7))  # killed after step 7; its checkpoint is of step 4
    logger = Csv(str(tmp_path), "", "csv")
    logger.go_on_from(4)
    logger.log_metrics({"loss": 99.0, "before": 1.0}, 0)  # the network is scored once more before it goes on
    for step in range(4, 9):
        logger.log_metrics({"loss": step / 4}, step)
    assert [(row["step"], row["loss"]) for row in rows(tmp_path)] == [(str(k), str(k / 4)) for k in range(9)]


def test_a_run_that_goes_on_in_a_new_folder_logs_all(tmp_path: Path) -> None:
    logger = Csv(str(tmp_path), "", "csv")
    logger.go_on_from(4)
    logger.log_metrics({"before": 1.0}, 0)
    logger.log_metrics({"loss": 1.0}, 4)
    assert [row["step"] for row in rows(tmp_path)] == ["0", "4"]


def test_new_columns_on_the_way(tmp_path: Path) -> None:
    logged(tmp_path, range(2))
    logger = logged(tmp_path, range(2, 3), mIoU=5.0)
    logger.log_metrics({"accuracy": 7.0}, 3)
    assert rows(tmp_path) == [
        {"accuracy": "", "loss": "0.0", "mIoU": "", "step": "0"},
        {"accuracy": "", "loss": "0.25", "mIoU": "", "step": "1"},
        {"accuracy": "", "loss": "0.5", "mIoU": "5.0", "step": "2"},
        {"accuracy": "7.0", "loss": "", "mIoU": "", "step": "3"},
    ]


@pytest.mark.parametrize("cut", ["2,0.", "2", '"2', "\0\0\0\0", "2,0.5,7\r\n"])
def test_half_a_row_is_dropped(cut: str, tmp_path: Path) -> None:
    logged(tmp_path, range(2))
    with (tmp_path / "csv" / "metrics.csv").open("a", newline="") as file:
        file.write(cut)
    logged(tmp_path, range(2, 4))
    found = rows(tmp_path)
    assert [(row["loss"], row["step"]) for row in found] == [(str(k / 4), str(k)) for k in range(4)]


def test_an_empty_file_is_one_without_rows(tmp_path: Path) -> None:
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "metrics.csv").touch()
    logged(tmp_path, range(1))
    assert len(rows(tmp_path)) == 1
    assert read_rows(tmp_path / "csv" / "metrics.csv")[0] == ["loss", "step"]


def test_a_full_disk_is_warned_of_once_and_its_rows_come_later(tmp_path: Path) -> None:
    logger = logged(tmp_path, range(2))
    size = (tmp_path / "csv" / "metrics.csv").stat().st_size
    with no_file_larger_than(size + 4), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for step in range(2, 5):
            logger.log_metrics({"loss": step / 4, **({"new": 1.0} if step == 4 else {})}, step)
            assert (tmp_path / "csv" / "metrics.csv").stat().st_size == size  # no half a row
        logger.finalize("failed")
    (message,) = (str(each.message) for each in said)
    assert message.startswith(f"can't write the log in {tmp_path} ([Errno 27] File too large")
    logger.log_metrics({"loss": 5 / 4}, 5)
    assert [(row["loss"], row["step"]) for row in rows(tmp_path)] == [(str(k / 4), str(k)) for k in range(6)]


def test_hyperparameters_that_cannot_be_written_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "csv").touch()
    refusal(
        lambda: Csv(str(tmp_path), "", "csv").log_hyperparams({"seed": 0}), f"can't write {tmp_path} (File exists; "
    )


def test_other_processes_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning.pytorch.utilities import rank_zero_only

    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger: Any = logged(tmp_path, range(3))
    logger.go_on_from(2)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert CsvRows(str(tmp_path / "csv")).columns == []
