"""Curves of several runs in one picture."""

import sys
from pathlib import Path

import pytest

from scripts.draw_curves import line_of, main

ROWS = "step,loss/total,epoch\n0,2.5,0\n1,,0\n3,1.25,0\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run" / "csv").mkdir(parents=True)
    (tmp_path / "run" / "csv" / "metrics.csv").write_text(ROWS)
    return tmp_path / "run"


def test_a_curve_has_the_rows_with_a_value(run: Path) -> None:
    assert line_of("a", run, "loss/total") == ("a", [0.0, 3.0], [2.5, 1.25])
    with pytest.raises(SystemExit, match="expected one of epoch, loss/total, step"):
        line_of("a", run, "loss/main")


def test_the_picture_names_the_runs(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "curves.svg"
    monkeypatch.setattr(sys, "argv", ["draw_curves", "loss/total", str(output), f"one <b>={run}", f"two={run}"])
    main()
    text = output.read_text(encoding="utf-8")
    assert text.startswith("<svg")
    assert "two" in text
    assert "<b>" not in text
