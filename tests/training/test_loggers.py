"""Loggers and pictures that can't write: warned of once, and nothing ends."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import Logger

from src.disk import WarnOnce
from src.errors import DenseSiamError
from src.monitoring.unreadable import Unreadable
from src.training.loggers import Csv, TensorBoard, Wandb
from tests.refusals import refusal


def full(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


def messages(action: Callable[[], object]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        action()
    return [str(each.message) for each in caught]


def make(kind: type[Logger], folder: Path) -> Any:
    if kind is Csv:
        return Csv(str(folder), "", "csv")
    return kind(save_dir=str(folder), **({"offline": True} if kind is Wandb else {}))


@pytest.mark.parametrize(
    ("kind", "library"), [(Csv, CSVLogger), (TensorBoard, TensorBoardLogger), (Wandb, WandbLogger)]
)
def test_a_logger_that_cannot_write_warns_once(
    kind: type[Logger], library: type[Logger], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = make(kind, tmp_path)
    for name in ("log_metrics", "save", "after_save_checkpoint", "finalize", "log_hyperparams"):
        monkeypatch.setattr(library, name, full)

    def log() -> None:
        logger.log_metrics({"loss": 1.0}, 3)
        logger.save()
        logger.after_save_checkpoint(Mock())
        logger.finalize("success")

    (message,) = messages(log)
    assert message.startswith(f"can't write the log in {tmp_path} ([Errno 28] No space left on device): ")
    refusal(lambda: logger.log_hyperparams({"seed": 1}), f"can't write {tmp_path} (No space left on device; ")


def test_images_that_cannot_be_read_are_named_without_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    callback = Unreadable(str(tmp_path / "file" / "unreadable.txt"))
    said = messages(lambda: [callback.report("epoch 1: 1 image(s)", ["can't read a.png"]) for _ in range(2)])
    assert said[0].startswith(f"can't write {tmp_path}/file/unreadable.txt (")
    assert len(said) == 3
    assert all(message.startswith("epoch 1: 1 image(s); the first: can't read a.png") for message in said[1:])


def test_mistakes_of_the_user_and_stops_are_raised() -> None:
    for error in (DenseSiamError("wrong"), KeyboardInterrupt()):
        with pytest.raises(type(error)), WarnOnce("a picture"):
            raise error


def test_what_the_disk_says_is_said() -> None:
    def wrapped() -> None:
        try:
            full()
        except OSError as error:
            raise ValueError("a library's own\nwords") from error

    def twice(tolerated: WarnOnce) -> None:
        for _ in range(2):
            with tolerated:
                wrapped()

    (message,) = messages(lambda: twice(WarnOnce("a picture")))
    assert message.startswith("can't write a picture ([Errno 28] No space left on device): ")
