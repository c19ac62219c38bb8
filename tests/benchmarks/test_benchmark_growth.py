"""The benchmark of growth: the fit, the verdict, and that everything it measures runs."""

from pathlib import Path

import pytest

from benchmarks import growth
from benchmarks.growing import list_folder, names, pretraining, read_names, sampler, segmentation
from benchmarks.growth import Line, draw, exponent, main, row


def test_the_exponent_is_that_of_a_power() -> None:
    assert exponent((1, 2, 4), [3.0, 12.0, 48.0]) == pytest.approx(2)
    assert exponent((10, 100), [5.0, 5.0]) == pytest.approx(0)


def test_the_verdict_is_on_the_steeper_of_both() -> None:
    line = Line("files", (10, 100, 1000), (), 1)
    fixed_costs = [1.0, 1.0, 20.0]  # hide that the last step is steeper than linear
    assert row(line, fixed_costs) == [
        "files",
        "10: 1,000.0, 100: 1,000.0, 1,000: 20,000.0",
        "0.65",
        "1.30",
        "at most 1.15: **short**",
    ]
    assert row(line, [1.0, 10.0, 100.0])[-1] == "at most 1.15: pass"
    assert row(line._replace(most=2), fixed_costs)[-1] == "at most 2.15: pass"


def test_what_is_measured_runs(tmp_path: Path) -> None:
    assert names(1001)[-2:] == ["n00000000/n000000999.JPEG", "n00000001/n000001000.JPEG"]
    assert len(list_folder(tmp_path, 1001)()) == 1001
    read_names(1001)()
    sampler(300)()
    pretraining(grid_size=2)()
    segmentation(num_categories=27, num_aux_categories=30, side=32, images=2)()


def test_the_command_draws_and_judges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tuple(lambda size=size: sum(range(1000 * size)) for size in (1, 2))
    monkeypatch.setattr(growth, "lines", lambda folder: [Line(name, (1, 2), runs, 1) for name in "abc"])
    monkeypatch.setattr(growth, "between_processes", lambda count, rounds: 1.0)
    main(["--rounds", "1", "--plot", str(tmp_path / "growth.svg")])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:6]] == ["| a", "| b", "| c", "| processes: each one's step"]
    assert lines[5].endswith("| 0.00 | 0.00 | at most 0.3: pass |")
    drawn = (tmp_path / "growth.svg").read_bytes()
    draw({"a": (Line("a", (1, 2), runs, 1), [1.0, 2.0])}, tmp_path / "again.svg")
    draw({"a": (Line("a", (1, 2), runs, 1), [1.0, 2.0])}, tmp_path / "same.svg")
    assert (tmp_path / "again.svg").read_bytes() == (tmp_path / "same.svg").read_bytes() != drawn
