"""What tables, pages and sweeps show of a run that is scored by AP."""

from pathlib import Path

import pytest

from scripts.collect_tables import score_table
from src.results.pages.compare_page import compare_page
from src.results.pages.run_page import run_page
from src.results.pages.sections import class_bars, class_score
from src.results.pages.series import groups, read_lines
from src.results.pages.sweep_page import sweep_page
from src.results.runs import Run, read_run
from src.results.sweep_table import print_sweep
from src.results.sweeps import cell, columns, read_sweep
from tests.run_folders import document, write_run

EVIL = "<script>alert(1)</script>"
DETECTED = {"AP": 26.0, "AP50": 50.0, "AP75": None, "COCO_AP": 27.0, "AP/cat": 30.0, f"AP/{EVIL}": 22.0, "AP/cow": None}


def detected(folder: Path, seed: int = 0, ap: float = 26.0, overrides: list[str] | None = None) -> Run:
    content = document(
        labelled=False,
        scores={"after training": DETECTED | {"AP": ap}},
        intervals={"after training": {"AP": [20.0, 30.0]}},
        config={"seed": seed, "lr": 0.1 if ap < 30 else 0.2},
    )
    return read_run(write_run(folder, content, overrides))


def test_the_page_of_a_run_leads_with_its_own_score(tmp_path: Path) -> None:
    run = detected(tmp_path / "run")
    page = " ".join(run_page(run, [], None, "").split())
    assert "<strong>AP 26.0 %</strong> after training" in page
    assert "20.0 to 30.0" in page
    assert "COCO AP" in page
    assert "AP of each class" in page
    assert "mIoU" not in page
    assert EVIL not in page
    assert [(bar.name, bar.score) for bar in class_bars(run)] == [("cat", 30.0), (EVIL, 22.0), ("cow", None)]
    assert class_score(run) == "AP"


def test_runs_of_both_kinds_stand_side_by_side(tmp_path: Path) -> None:
    runs = [detected(tmp_path / "boxes"), read_run(write_run(tmp_path / "pixels", document()))]
    page = " ".join(compare_page(runs, [[], []], [None, None], "").split())
    for name in ("mIoU", "AP50", "AP or IoU of each class"):
        assert name in page
    assert "20.0 to 30.0" not in page  # the interval of AP must not stand behind mIoU


def test_a_sweep_compares_ap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, (lr, seed, ap) in enumerate(((0.1, 0, 20.0), (0.1, 1, 24.0), (0.2, 0, 30.0))):
        detected(tmp_path / f"job{number}", seed, ap, [f"lr={lr}", f"seed={seed}"])
    sweep = read_sweep(tmp_path)
    assert columns(sweep) == ["AP"]
    assert [cell(setting, "AP") for setting in sweep.settings] == ["22.0 ± 2.8 (2 seeds)", "30.0 (20.0 to 30.0)"]
    print_sweep(sweep)
    assert "AP in percent (95 % interval, or ± over seeds)" in capsys.readouterr().out
    assert "AP in percent, with its 95 % interval" in sweep_page(sweep)


def test_curves_of_ap_are_scores() -> None:
    lines = read_lines([{"step": "0", "detect/AP": "1.0", "detect/mask_AP50": "2.0", "loss/total": "3"}], None)
    (scores, losses) = groups(lines)
    assert [chart.title for chart in scores.charts] == ["AP (%)", "mask_AP50 (%)"]
    assert losses.title == "Losses"


def test_the_plain_table_of_runs_has_the_columns_of_its_scores(tmp_path: Path) -> None:
    runs = [detected(tmp_path / f"run{seed}", seed, 20.0 + 2 * seed) for seed in (0, 1)]
    lines = score_table([("", runs)]).splitlines()
    assert lines[0] == "| | AP | AP50 | AP75 | COCO_AP |"
    assert lines[2] == "| after training | 21.0 ± 1.4 | 50.0 ± 0.0 | - | 27.0 ± 0.0 |"
