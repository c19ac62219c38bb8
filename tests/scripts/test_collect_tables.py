"""Mean and spread over runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "collect_tables.py"


def write_run(folder: Path, seed: int, miou: float) -> None:
    folder.mkdir(parents=True)
    row = {"mIoU": miou, "mIoU_stuff": miou + 1, "mIoU_thing": None if seed == 1 else 3.0, "accuracy": 50.0}
    cost = {"steps": 176, "total_seconds": 100.0 + seed}
    document = {"scores": {"after training": row}, "cost": cost, "config": {"seed": seed}}
    (folder / "scores.json").write_text(json.dumps(document))


def collect(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, folder], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_mean_spread_seeds_and_cost(tmp_path: Path) -> None:
    for seed, miou in enumerate((20.0, 22.0, 24.0)):
        write_run(tmp_path / str(seed), seed, miou)
    result = collect(tmp_path)
    assert result.returncode == 0, result.stderr
    assert "| after training | 22.0 ± 2.0 | 23.0 ± 2.0 | - | 50.0 ± 0.0 |" in result.stdout.splitlines()
    assert "seeds 0, 1, 2; 176 steps; 100 to 102 s per run" in result.stdout


@pytest.mark.parametrize("empty", [True, False])
def test_without_runs_it_says_so(empty: bool, tmp_path: Path) -> None:
    folder = tmp_path if empty else tmp_path / "nowhere"
    result = collect(folder)
    assert result.returncode == 2
    assert f"no scores.json below {folder}" in result.stderr
