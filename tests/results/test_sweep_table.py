"""The jobs of a sweep: their values, scores and failures, and the table in the terminal."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import OmegaConf

from src.assembly.sweep_end import SweepTable
from src.results.runs import read_run
from src.results.sweep_table import print_sweep
from src.results.sweeps import cell, columns, measured, places, read_sweep
from tests.composing import CONF
from tests.refusals import refusal
from tests.run_folders import document, record, write_run, write_sweep


def test_settings_are_ordered_by_value_and_seeds_are_joined(tmp_path: Path) -> None:
    sweep = read_sweep(write_sweep(tmp_path))
    assert list(sweep.keys) == ["model.num_categories"]
    assert [setting.values["model.num_categories"] for setting in sweep.settings] == ["2", "4", "10"]
    assert columns(sweep) == ["mIoU"]
    assert [cell(setting, "mIoU") for setting in sweep.settings] == [
        "20.0 (38.5 to 41.5)",
        "41.0 ± 1.4 (2 seeds)",
        "-",
    ]
    assert [places(setting) for setting in sweep.settings] == [
        "job2; failed or stopped: job3",
        "job4, job5",
        "failed or stopped: job0, job1",
    ]


def test_without_labels_the_label_free_metrics_are_shown(tmp_path: Path) -> None:
    sweep = read_sweep(write_sweep(tmp_path, labelled=False))
    assert columns(sweep) == ["consistency", "mutual_information", "entropy", "balance"]
    assert [measured(setting, "consistency") for setting in sweep.settings] == [[0.5], [0.5, 0.5], []]
    assert cell(sweep.settings[1], "consistency") == "0.500 ± 0.000 (2 seeds)"


@pytest.mark.parametrize(
    ("written", "stored"),
    [("0.10", 0.1), ("'a b'", "a b"), ("[1,2]", [1, 2]), ("null", None), ("True", True), ("1e-3", 0.001)],
)
def test_values_are_those_of_the_config_not_of_the_command(tmp_path: Path, written: str, stored: object) -> None:
    """So that a failed job stands in the row of the finished job with the same value."""
    for seed in (0, 1):
        overrides = [f"data.value={written}", f"seed={seed}"]
        if seed:
            record(tmp_path / "failed", overrides)
        else:
            write_run(tmp_path / "done", document(config={"seed": 0, "data": {"value": stored}}), overrides)
    write_run(tmp_path / "other", document(config={"seed": 0, "data": {"value": "b"}}), ["data.value=b", "seed=0"])
    sweep = read_sweep(tmp_path)
    assert sorted(places(setting) for setting in sweep.settings) == ["done; failed or stopped: failed", "other"]


def test_a_choice_of_a_group_is_shown_as_it_was_given(tmp_path: Path) -> None:
    for name in ("simsiam", "pixsim"):
        write_run(tmp_path / name, document(), [f"+ablation={name}", "seed=0"])
    sweep = read_sweep(tmp_path)
    assert [dict(setting.values) for setting in sweep.settings] == [{"ablation": "pixsim"}, {"ablation": "simsiam"}]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"scores": {}}', json.dumps(document(scores={"after training": 3})), "[" * 100_000],
    ids=["empty", "cut", "a list", "null", "lacks parts", "a row is a number", "too deep"],
)
def test_a_damaged_file_is_refused_and_counts_as_failed_in_a_sweep(tmp_path: Path, text: str) -> None:
    write_sweep(tmp_path)
    (tmp_path / "job4" / "scores.json").write_text(text)
    refusal(lambda: read_run(tmp_path / "job4"), "scores.json", "expected")
    assert places(read_sweep(tmp_path).settings[1]) == "job5; failed or stopped: job4"


def test_a_folder_without_jobs_is_refused(tmp_path: Path) -> None:
    refusal(lambda: read_sweep(tmp_path), tmp_path, "expected the folder of a finished run or of a sweep")


def test_names_are_not_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("[red]", "[bold]"):
        write_run(tmp_path / name, document(), [f"data.list='{name}'"])
    print_sweep(read_sweep(tmp_path))
    assert capsys.readouterr().out.count("[red]") == 2


Started = Callable[[Path], SweepTable]


@pytest.fixture
def started() -> Started:
    """The callback of `conf/hydra/default.yaml`, after the start of a sweep into a folder."""

    def start(folder: Path) -> SweepTable:
        declared = OmegaConf.load(CONF / "hydra" / "default.yaml")
        table: SweepTable = instantiate(declared.callbacks.sweep_table)
        table.on_multirun_start(OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}}}))
        return table

    return start


def test_the_table_is_printed_once_at_the_end(
    tmp_path: Path, started: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    table = started(write_sweep(tmp_path))
    table.on_multirun_end(OmegaConf.create())
    out = capsys.readouterr().out
    assert "41.0 ± 1.4 (2 seeds)" in out
    assert "failed or stopped: job0, job1" in out
    table.show()
    assert capsys.readouterr().out == ""


def test_a_table_that_cannot_be_made_is_one_line(
    tmp_path: Path, started: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    started(tmp_path).on_multirun_end(OmegaConf.create())
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("warning: can't show the table of")
    assert said.err.count("\n") == 1


def test_other_processes_of_a_sweep_print_no_table(
    tmp_path: Path, started: Started, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    started(write_sweep(tmp_path)).on_multirun_end(OmegaConf.create())
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_a_sweep_with_a_failed_job_ends_with_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from src import train as command
    from src.assembly import sweep_end
    from src.command_line import run

    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(sweep_end.atexit, "register", at_exit.append)
    few = ["data.train_scenes=8", "data.val_scenes=5", "data.scene_size=32", "protocol.resamples=10"]
    swept = ["-m", "experiment=demo", "debug=tiny", "references=none", *few, "model.num_categories=8,1"]
    monkeypatch.setattr(sys, "argv", ["train", *swept, f"hydra.sweep.dir={tmp_path}"])
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit, match=r"model\.num_categories is 1"):
        run(command.main, "train")
    capsys.readouterr()
    at_exit[0]()
    assert "failed or stopped: " in capsys.readouterr().out
