"""The benchmark of threads: the busy process runs only in between, and the command prints every goal."""

import pytest
import torch

from benchmarks.measuring import Times
from benchmarks.threads import busy_process, main, table


def test_the_verdict_is_on_the_wall_time() -> None:
    times = Times([1.0, 1.0, 1.0], [1.0, 1.0, 1.0]), Times([1.5, 1.9, 9.0], [9.0, 9.0, 9.0])
    assert table({"a": times}).splitlines()[2].endswith("| 1.90 (1.50-9.00) | at most 2: pass |")
    assert table({"a": (times[0], Times([2.1] * 3, [1.0] * 3))}).endswith("at most 2: **short** |")


def test_a_run_beside_the_busy_process_is_run_once() -> None:
    done = []
    with busy_process() as beside:
        beside(lambda: done.append(1))
    assert done == [1]


def test_the_command_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.scoring.SIDE", 16)
    monkeypatch.setattr("benchmarks.threads.WORKERS", 0)  # starting processes takes long
    before = torch.get_num_threads()
    main(["--rounds", "1", "--batch", "2", "--size", "32"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:6]] == [
        "| training step",
        "| scoring",
        "| loading",
        "| loading, 0 processes",
    ]
    assert all("at most 2: " in line for line in lines[2:6])
    assert torch.get_num_threads() == before
