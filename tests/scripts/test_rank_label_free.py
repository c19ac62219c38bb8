"""Rank correlations over made-up runs."""

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from scripts.rank_label_free import correlation, main, ranked
from src.monitoring.label_free import LabelFreeMetrics
from tests.refusals import refusal

ROOT = Path(__file__).parents[2]


def write(folder: Path, miou: float | None, metrics: Sequence[float | None] | None, **changes: Any) -> None:
    document: dict[str, Any] = {
        "scores": {"after training": {"mIoU": miou}} if miou is not None else {},
        "protocol": {"data": changes.get("data", "val of camvid"), "images": 3, "matching": "hungarian"},
        "cost": {"steps": 7},
        "config": {"seed": 0, "task": {"_target_": f"src.tasks.segment.{changes.get('method', 'Segment')}"}},
    }
    if metrics is not None:
        document["label_free"] = dict(zip(LabelFreeMetrics._fields, metrics, strict=True))
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text(json.dumps(document))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Four runs of one method, three of another, two on other data, and two that do not count.

    Of the first four, consistency goes with mIoU, mutual information against it, entropy is constant, and balance has
    one pair of neighbours in the wrong order: rho = 1 - 6 * (1 + 1) / (4 * 15) = 0.8.
    """
    for index, (miou, balance) in enumerate(zip((10, 20, 30, 40), (0.1, 0.3, 0.2, 0.4), strict=True)):
        write(tmp_path / "own" / str(index), miou, [index / 10, -index, 0.5, balance])
    for index, miou in enumerate((1, 2, 3)):
        write(tmp_path / "other" / str(index), miou, [-index / 10 - 1, 5, 0.1 * index, 1], method="PiCIE")
    for index in range(2):
        write(tmp_path / "cities" / str(index), index, [index] * 4, data="cities")
    write(tmp_path / "unscored", None, [0.1] * 4)
    write(tmp_path / "older", 5.0, None)
    write(tmp_path / "undefined", 5.0, [0.1, None, 0.2, 0.3])
    return tmp_path


def rows(text: str) -> dict[tuple[str, str], list[str]]:
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert cells[0] == ["scored", "method", "runs", *LabelFreeMetrics._fields]
    return {(data, method): found for data, method, *found in cells[1:]}


def test_by_data_set_and_method(runs: Path) -> None:
    found = rows(ranked([runs, runs / "own"]))  # a run below both is one run
    camvid = "val of camvid; hungarian"
    assert list(found) == [("cities; hungarian", "Segment"), *((camvid, name) for name in ("all", "PiCIE", "Segment"))]
    assert found["cities; hungarian", "Segment"] == ["2", "-", "-", "-", "-"]
    assert [cell.partition(" ")[0] for cell in found[camvid, "Segment"]] == ["4", "+1.00", "-1.00", "-", "+0.80"]
    # Of the 24 orders of four runs, one has rho 1 and three have 0.8, and as many the same below 0: p = 8 / 24.
    assert found[camvid, "Segment"][4] == "+0.80 (p 0.33)"
    assert [cell.partition(" ")[0] for cell in found[camvid, "PiCIE"]] == ["3", "-1.00", "-", "+1.00", "-"]
    # PiCIE's three are below all others in mIoU: ranks 3, 2, 1, then 4 to 7: rho = 1 - 6 * (4 + 4) / (7 * 48).
    # Tables of the exact distribution give 0.786 at p = 0.05 and 0.893 at p = 0.02 for seven.
    assert found[camvid, "all"][:2] == ["7", "+0.86 (p 0.024)"]


def test_correlation_by_hand() -> None:
    """Differences of ranks 1, 1, 1, 3, 0: rho = 1 - 6 * 12 / (5 * 24) = 0.4; three runs in order: 2 of 6 orders."""
    assert correlation([1, 2, 3, 4, 5], [200, 300, 400, 1, 500])[0] == pytest.approx(0.4)
    assert correlation([1, 2, 3], [7, 8, 9]) == pytest.approx((1.0, 2 / 6))
    generator = np.random.default_rng(1)
    one, other = generator.normal(size=(2, 30))
    assert correlation(list(one), list(other)) == pytest.approx(tuple(spearmanr(one, other)), abs=0.02)
    assert all(map(math.isnan, correlation([1, 2], [1, 2])))
    assert all(map(math.isnan, correlation([1, 2, 3], [4, 4, 4])))


def test_without_both_it_says_so(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal(lambda: ranked([runs / "older"]), "label_free and an mIoU", runs / "older", "found 1 finished, none")
    monkeypatch.setattr(sys, "argv", ["rank_label_free.py", str(runs / "absent")])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert isinstance(stopped.value.code, str)
    assert len(stopped.value.code.splitlines()) == 1


@pytest.mark.slow
def test_the_script_runs(runs: Path) -> None:
    script = ROOT / "scripts" / "rank_label_free.py"
    done = subprocess.run([sys.executable, script, runs], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("| scored | method | runs |")
