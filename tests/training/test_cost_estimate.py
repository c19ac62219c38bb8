"""The table before a run: what follows from what was measured, worked out by hand, and how it is said."""

import math
import re
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from src.disk import amount, free_bytes
from src.training import precision
from src.training.cost_estimate import Forecast, Plan, duration, forecast, plan_of, print_cost_estimate
from src.training.profiling import Measured
from src.training.resumption import LastCheckpoint

MEASURED = Measured(
    images=1000,
    batch=32,
    train_batches=31,
    val_batches=7,
    train_seconds=2.0,
    val_seconds=0.5,
    load_seconds=None,
    memory=1_340_000_000,
    gpu_memory=None,
    learned=900_000,
    parameters=1_200_000,
    checkpoint=8_500_000,
)
PLAN = Plan(epochs=20, steps=None, accumulated=1, train_limit=1.0, val_limit=1.0, validate_every=1, checkpoints=1)
FORECAST = Forecast(31, 620, 1240.0, 70.0, 8_500_000)


@pytest.mark.parametrize(
    ("measured", "plan", "expected"),
    [
        ({}, {}, {}),
        ({"load_seconds": 1.0}, {}, {}),  # beside the steps
        ({"load_seconds": 5.0}, {}, {"train_seconds": 3100.0}),
        ({}, {"accumulated": 4}, {"steps_per_epoch": 8, "steps": 160}),  # 31 batches make 8 steps, the last a short one
        ({}, {"validate_every": 3}, {"val_seconds": 21.0}),  # after epochs 3, 6, ... 18
        ({"val_start_seconds": 2.0}, {"validate_every": 3}, {"val_seconds": 33.0}),  # clusters are fitted before each
        ({}, {"steps": 155}, {"steps": 155, "train_seconds": 310.0, "val_seconds": 17.5}),  # 5 epochs
        ({}, {"steps": 999}, {}),
        ({}, {"epochs": None, "steps": 62}, {"steps": 62, "train_seconds": 124.0, "val_seconds": 7.0}),
        ({}, {"train_limit": 10}, {"steps_per_epoch": 10, "steps": 200, "train_seconds": 400.0}),
        ({}, {"train_limit": 0.5}, {"steps_per_epoch": 15, "steps": 300, "train_seconds": 600.0}),
        ({}, {"val_limit": 2}, {"val_seconds": 20.0}),
        ({}, {"val_limit": 100}, {}),
        ({}, {"checkpoints": 3}, {"disk": 25_500_000}),
        # Nothing is made up.
        ({}, {"epochs": None}, {"steps": None, "train_seconds": None, "val_seconds": None}),
        ({"train_seconds": None}, {}, {"train_seconds": None}),
        ({"val_seconds": None}, {}, {"val_seconds": None}),
        ({}, {"validate_every": None}, {"val_seconds": None}),
        ({"val_batches": 0, "val_seconds": None}, {"validate_every": None}, {"val_seconds": 0.0}),
        ({}, {"checkpoints": None}, {"disk": None}),
    ],
)
def test_what_follows_from_the_measured_steps(
    measured: dict[str, Any], plan: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert forecast(MEASURED._replace(**measured), PLAN._replace(**plan)) == FORECAST._replace(**expected)


def plan(folder: Path, *callbacks: ModelCheckpoint, **options: Any) -> Plan:
    quiet = {"enable_progress_bar": False, "logger": False, "accelerator": "cpu", "default_root_dir": folder}
    return plan_of(
        lightning.Trainer(callbacks=list(callbacks), enable_checkpointing=bool(callbacks), **quiet | options)
    )


def test_the_plan_is_the_trainers(tmp_path: Path) -> None:
    assert plan(tmp_path, ModelCheckpoint(tmp_path), max_epochs=20) == PLAN
    options = {"max_epochs": 5, "max_steps": 70, "accumulate_grad_batches": 2, "check_val_every_n_epoch": 3}
    limits = {"limit_train_batches": 9, "limit_val_batches": 0.5}
    assert plan(tmp_path, **options, **limits) == Plan(5, 70, 2, 9, 0.5, 3, checkpoints=0)
    assert plan(tmp_path, max_epochs=-1).epochs is None
    assert plan(tmp_path, max_epochs=5, val_check_interval=0.25).validate_every is None
    assert plan(tmp_path, fast_dev_run=2)[:5] == (1, 2, 1, 2, 2)


def test_checkpoints_are_counted(tmp_path: Path) -> None:
    best = ModelCheckpoint(tmp_path, monitor="densesiam/mIoU", save_top_k=3)
    last = ModelCheckpoint(tmp_path, save_last=True)
    assert plan(tmp_path, best, last, max_epochs=2).checkpoints == 3 + 2
    assert plan(tmp_path, ModelCheckpoint(tmp_path, save_top_k=-1), max_epochs=2).checkpoints is None
    assert plan(tmp_path, LastCheckpoint(str(tmp_path), None), max_epochs=2).checkpoints == 2  # and the previous one


def printed(capsys: pytest.CaptureFixture[str], measured: Measured, plan: Plan) -> dict[str, list[str]]:
    """The cells of each row by its name."""
    print_cost_estimate(measured, plan, Path("/"))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    return {row[0]: row[1:] for row in rows if row}


def test_the_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: True)
    rows = printed(capsys, MEASURED, PLAN._replace(validate_every=20))
    free, folder = rows.pop("free disk")
    threads, waiting = rows.pop("threads")
    assert rows == {
        "training images": ["1,000", ""],
        "batch": ["32", "images of all processes together"],
        "parameters": ["1,200,000", "900,000 of them learn"],
        "memory": ["1.3 GB", "peak of this process; its loader processes come on top"],
        "seconds per batch": ["2.000", ""],
        "images per second": ["16.0", ""],
        "precision": ["32-true", "trainer=fast takes bf16-mixed, which is faster on this device"],
        "steps per epoch": ["31", ""],
        "epochs": ["20", ""],
        "steps in all": ["620", ""],
        "estimated time": ["20 min 44 s", "training 20 min 40 s, scoring 4 s"],
        "checkpoints": ["8.5 MB", "1 of 8.5 MB"],
    }
    assert float(free.split()[0].replace(",", "")) > 0
    assert folder == "/"
    assert int(threads) == torch.get_num_threads()
    assert re.fullmatch(r"of \d+ cores; OMP_WAIT_POLICY is .+", waiting)


def test_the_table_of_a_gpu_that_waits_for_its_images(capsys: pytest.CaptureFixture[str]) -> None:
    gpu = MEASURED._replace(load_seconds=8.0, gpu_memory=139_800_000_000, memory=61_000_000_000)
    rows = printed(capsys, gpu, PLAN)
    assert rows["memory"] == ["61.0 GB", "peak on one GPU, of its 139.8 GB"]
    assert rows["seconds per batch"] == ["8.000", "loading alone: 8.000"]
    assert rows["images per second"] == ["4.0", ""]
    assert rows["estimated time"] == ["1 h 23 min", "training 1 h 22 min, scoring 1 min 10 s"]


def test_what_is_not_known_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    blind = MEASURED._replace(memory=None, train_seconds=None)
    rows = printed(capsys, blind, PLAN._replace(epochs=None, checkpoints=None))
    names = {
        "memory",
        "seconds per batch",
        "images per second",
        "epochs",
        "steps in all",
        "estimated time",
        "checkpoints",
    }
    assert {name for name, cells in rows.items() if cells[0] == "unknown"} == names
    assert rows["estimated time"][1] == "training unknown, scoring unknown"
    assert rows["checkpoints"][1] == "unknown of 8.5 MB"


def test_a_full_disk_is_warned_of(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    output = tmp_path / "not made [yet]"
    print_cost_estimate(MEASURED, PLAN, output)
    assert "make room" not in capsys.readouterr().out
    print_cost_estimate(MEASURED._replace(checkpoint=10**18), PLAN, output)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "make room" in line]
    assert line.startswith(f"The checkpoints need 1,000,000,000.0 GB, but {output} has ")
    assert line.endswith(" left: make room, or choose another folder with paths.output=DIR")


def test_free_disk_is_that_of_the_nearest_folder(tmp_path: Path) -> None:
    assert math.isclose(free_bytes(tmp_path / "a" / "b"), free_bytes(tmp_path), rel_tol=0.5)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"),
        (41.2, "41 s"),
        (59.7, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7980, "2 h 13 min"),
        (4.32e6, "1,200 h 0 min"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_amounts() -> None:
    assert [amount(size) for size in (0, 7_340_000, 999_900_000, 1_340_000_000, 15 * 10**11)] == [
        "0.0 MB",
        "7.3 MB",
        "999.9 MB",
        "1.3 GB",
        "1,500.0 GB",
    ]
