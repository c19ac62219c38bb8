"""A folder belongs to one run: names that differ, and what is refused where one is asked for."""

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import OmegaConf

from src import command_line
from src.errors import DenseSiamError
from src.run_names import run_id
from src.training import run_folder
from src.training.run_folder import in_own_folder, own_folder
from tests.composing import CONF, composed
from tests.refusals import refusal

HAND = (
    "TORCHELASTIC_RUN_ID",
    "LOCAL_RANK",
    "SLURM_NTASKS",
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
    "MASTER_ADDR",
    "MASTER_PORT",
)


def held(folder: Path, ckpt_path: Path | None = None) -> None:
    with own_folder(folder, None if ckpt_path is None else str(ckpt_path)):
        pass


def test_a_second_run_at_the_same_time_is_refused(tmp_path: Path) -> None:
    with own_folder(tmp_path / "run", None):
        refusal(lambda: held(tmp_path / "run"), f"in use by another run, process {os.getpid()} on ", "paths.output=DIR")
        refusal(lambda: held(tmp_path / "run", tmp_path / "run" / "checkpoints" / "last.ckpt"), "in use by another run")
        held(tmp_path / "other")
    held(tmp_path / "run")  # it has left nothing


def _hold(folder: Path, entered: Any) -> None:
    with own_folder(folder, None):
        entered.set()
        multiprocessing.Event().wait()


def test_a_run_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    entered = context.Event()
    process = context.Process(target=_hold, args=(tmp_path, entered))
    process.start()
    try:
        assert entered.wait(60)
        refusal(lambda: held(tmp_path), f"in use by another run, process {process.pid} on ")
    finally:
        process.kill()
        process.join()
    held(tmp_path)


@pytest.mark.parametrize("left", ["scores.json", "checkpoints/last.ckpt", "checkpoints/best.ckpt", "csv/metrics.csv"])
def test_results_of_another_run_are_left_alone(left: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / left).parent.mkdir(parents=True)
    (folder / left).touch()
    refusal(lambda: held(folder), f"{folder / left} is another run's: choose another folder with paths.output=DIR")
    elsewhere = tmp_path / "run2" / "checkpoints" / "last.ckpt"
    refusal(lambda: held(folder, elsewhere), "is another run's")
    held(folder, folder / "checkpoints" / "last.ckpt")  # to go on with the run itself


def test_checkpoints_elsewhere_are_looked_at(tmp_path: Path) -> None:
    elsewhere = tmp_path / "disk"
    elsewhere.mkdir()
    last = elsewhere / "last.ckpt"
    with own_folder(tmp_path / "first", None, str(elsewhere)):
        last.touch()
    with (
        pytest.raises(DenseSiamError, match=r"disk/last\.ckpt is another run's"),
        own_folder(tmp_path / "second", None, str(elsewhere)),
    ):
        pass
    with own_folder(tmp_path / "first", str(last), str(elsewhere)):
        pass


@pytest.mark.parametrize("value", ["null", "3", "''"])
def test_an_output_that_is_no_folder_is_refused(value: str, tmp_path: Path) -> None:
    command = in_own_folder(resumes=True)(lambda config: 1.0)
    refusal(lambda: command(composed(tmp_path, f"paths.output={value}")), "paths.output is ")


def test_a_link_into_the_folder_is_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "scores.json").touch()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    held(tmp_path / "run", tmp_path / "link" / "last.ckpt")
    held(tmp_path / "link", tmp_path / "run" / "last.ckpt")


def test_the_other_processes_of_a_run_share_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with own_folder(tmp_path, None):
        (tmp_path / "scores.json").touch()
        monkeypatch.setattr(rank_zero_only, "rank", 1)
        held(tmp_path)
        monkeypatch.undo()


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(run_folder.fcntl, "flock", unknown)
    held(tmp_path)
    monkeypatch.setattr(run_folder, "fcntl", None)
    held(tmp_path)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refusal(lambda: held(tmp_path / "file" / "run"), f"can't write {tmp_path / 'file' / 'run'}", "paths.output=DIR")


@pytest.mark.parametrize("resumes", [True, False])
def test_a_command_holds_its_folder(resumes: bool, tmp_path: Path) -> None:
    @in_own_folder(resumes=resumes)
    def command(config: Any) -> float:
        (tmp_path / "scores.json").touch()
        refusal(lambda: held(tmp_path), "in use")
        return 1.0

    assert command(composed(tmp_path)) == 1.0
    refusal(lambda: command(composed(tmp_path)), "scores.json is another run's")
    again = composed(tmp_path, f"ckpt_path={tmp_path}/checkpoints/last.ckpt")
    if resumes:
        assert command(again) == 1.0
    else:
        refusal(lambda: command(again), "scores.json is another run's")


def test_runs_of_the_same_second_have_names_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in HAND:
        monkeypatch.delenv(name, raising=False)
    names = {run_id() for _ in range(50)}
    assert len(names) > 45
    assert all(len(name) == 6 and int(name, 16) >= 0 for name in names)


@pytest.mark.parametrize(
    ("shared", "other"),
    [
        ({"LOCAL_RANK": "0", "TORCHELASTIC_RUN_ID": "a"}, {"LOCAL_RANK": "0", "TORCHELASTIC_RUN_ID": "b"}),
        ({"SLURM_NTASKS": "2", "SLURM_JOB_ID": "7"}, {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "8"}),
    ],
)
def test_processes_of_one_launcher_share_the_name(
    shared: dict[str, str], other: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for variables in (shared, shared | {"LOCAL_RANK": "1"}, other):
        for name in HAND:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        found.append(run_id())
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(("name", "place"), [("train", "run"), ("train", "sweep"), ("evaluate", "run")])
def test_the_default_folders_have_that_name(name: str, place: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(name, return_hydra_config=True, overrides=["+hydra.runtime.choices.experiment=demo"])
    folder = OmegaConf.select(config, f"hydra.{place}.dir")
    assert str(folder).endswith(f"_{command_line.RUN_ID}")
