"""Mean and spread over runs, and made-up runs sorted into the paper's tables."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from scripts.collect_tables import PUBLISHED, main
from src.results.runs import read_runs
from src.results.tables.published import read_tables
from src.results.tables.sorting import collect, unfinished
from src.results.tables.writing import comma_separated, markdown

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "collect_tables.py"
TABLES = {name: table for name, table in read_tables(PUBLISHED).items() if name.startswith("table4")}
Script = Callable[..., str]
CPU = {"devices": ["cpu"], "packages": {"torch": "2.14.1"}}


def write_run(folder: Path, seed: int, miou: float, **config: Any) -> None:
    folder.mkdir(parents=True)
    row = {"mIoU": miou, "mIoU_stuff": miou + 1, "mIoU_thing": None if seed == 1 else 3.0, "accuracy": 50.0}
    cost = {"steps": 176, "total_seconds": 100.0 + seed}
    document = {"scores": {"after training": row}, "cost": cost, "config": {"seed": seed, **config}}
    (folder / "scores.json").write_text(json.dumps(document))


def write_pretraining(folder: Path, miou: float | None, seed: int = 0, **changes: Any) -> None:
    """The `scores.json` of a made-up pre-training: by default K = 7 without RegionSim; no labels without a mIoU.

    Args:
        folder: of the run; its path is in its config, as it is in a real one.
        miou: of the linear probe; that of k-means is 5 lower.
        changes: values of the config by their last names, `peak` of the memory, `environment`.
    """
    model = {
        "grid_size": changes.get("grid_size", 7),
        "grid_position": changes.get("grid_position", "after_predictor"),
        "global_region": "image",
    }
    weights = {"image": 1.0, "dense": changes.get("dense", 1.0), "region": changes.get("region", 0)}
    config = {
        "seed": seed,
        "data": {"batch_size": changes.get("batch_size", 16), "seed": seed, "num_workers": seed},
        "model": model,
        "task": {
            "_target_": changes.get("task", "src.tasks.pretrain.Pretrain"),
            "network": model,
            "loss_weights": weights,
            "region_start": 0.5,
        },
        "paths": {"output": str(folder)},
    }
    scores = {
        "before training": {"mIoU": 3.0, "accuracy": 9.0},
        "after training": {"mIoU": miou, "accuracy": 50.0},
        "after training, k-means": {"mIoU": miou and miou - 5},
    }
    cost = {"steps": 100, "train_seconds": 80.0, "total_seconds": 100.0, "peak_memory": changes.get("peak", 2 * 10**9)}
    document = {
        "scores": scores if miou is not None else {},
        "cost": cost,
        "config": config,
        "environment": changes.get("environment", CPU),
        "origin": {"config": f"hash of {folder}", "weights": None},
    }
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text(json.dumps(document))


def sorted_into(name: str, *folders: Path) -> tuple[list[str], list[str]]:
    """The lines of the Markdown table, without its head, and the remarks on the runs below some folders."""
    table = TABLES[name]
    lines, remarks = collect(table, [run for folder in folders for run in read_runs(folder)])
    written = markdown(table, lines, remarks)
    assert all(f"- {remark}" in written.splitlines() for remark in remarks)
    return [line for line in written.splitlines() if line.startswith("| ")][1:], remarks


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Script:
    """What the script prints when it is run with some arguments, or what it says when it refuses them."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["collect_tables.py", *map(str, arguments)])
        with suppress(SystemExit):
            main()
        said = capsys.readouterr()
        return said.err or said.out

    return run


@pytest.mark.slow
def test_mean_spread_seeds_and_cost(tmp_path: Path) -> None:
    for seed, miou in enumerate((20.0, 22.0, 24.0)):
        write_run(tmp_path / str(seed), seed, miou)
    result = subprocess.run([sys.executable, SCRIPT, tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert "| after training | 22.0 ± 2.0 | 23.0 ± 2.0 | - | 50.0 ± 0.0 |" in result.stdout.splitlines()
    assert "seeds 0, 1, 2; 176 steps; 100 to 102 s per run" in result.stdout


def test_a_sweep_has_a_row_for_each_setting(script: Script, tmp_path: Path) -> None:
    """Runs of one setting are averaged, those of several never; a setting is told by what most others don't have."""
    for seed in (0, 1):
        write_run(tmp_path / f"a{seed}", seed, 20.0 + 2 * seed, model={"grid_size": 7}, lr=1.0)
        write_run(tmp_path / f"b{seed}", seed, 30.0 + 2 * seed, model={"grid_size": 9}, lr=1.0)
    write_run(tmp_path / "c", 0, 40.0, model={"grid_size": 7, "depth": 2}, lr=1.0)
    write_run(tmp_path / "d", 0, 50.0, model={"grid_size": 7}, lr=0.5)
    write_run(tmp_path / "e", 0, 60.0, lr=1.0)
    printed = script(tmp_path).splitlines()
    assert printed[0] == "| setting | | mIoU | mIoU_stuff | mIoU_thing | accuracy |"
    assert [line.split(" | ")[:3] for line in printed[2:7]] == [
        ["| as most of these", "after training", "21.0 ± 1.4"],
        ["| model.grid_size=9", "after training", "31.0 ± 1.4"],
        ["| model.depth=2", "after training", "40.0"],
        ["| lr=0.5", "after training", "50.0"],
        ['| model.grid_size="absent"', "after training", "60.0"],
    ]
    assert printed[8] == "- as most of these: seeds 0, 1; 176 steps; 100 to 101 s per run"


@pytest.mark.parametrize("empty", [True, False])
def test_without_runs_it_says_so(empty: bool, script: Script, tmp_path: Path) -> None:
    folder = tmp_path if empty else tmp_path / "nowhere"
    assert f"no scores.json below {folder}" in script(folder)
    assert f"no scores.json below {folder}" in script("--table", "table4a", folder)


def test_table_4a_as_markdown_and_csv(script: Script, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for seed, miou in enumerate((20.0, 22.0, 24.0)):
        write_pretraining(runs / "seven" / str(seed), miou, seed, peak=2_030_000_000 + seed * 1_000_000)
    write_pretraining(runs / "zero", 18.0, grid_size=0)
    write_pretraining(runs / "one", None, grid_size=1, peak=None)
    printed = script("--table", "table4a", "--output", tmp_path / "tables", runs)
    probes, cost = "linear mIoU | linear accuracy | k-means mIoU", "peak GB | ms per image | total s"
    ours = f"{probes} | AP | AP50 | AP75 | {cost} | steps | seeds"
    published = "published AP | published AP50 | published AP75 | published Mem. GB"
    nothing = " | ".join(["not run"] * 11)
    assert printed.splitlines()[:10] == [
        "## table4a: K x K points of the grid in PixSim, without RegionSim",
        "",
        f"| K | {ours} | {published} |",
        "|---" * 16 + "|",
        "| 0 | 18.0 | 50.0 | 13.0 | - | - | - | 2.000 | 50.0 | 100 | 100 | 1: 0 | 53.5 | 79.7 | 59.3 | 8.06 |",
        "| 1 | - | - | - | - | - | - | - | 50.0 | 100 | 100 | 1: 0 | 28.8 | 53.8 | 27.1 | 8.11 |",
        f"| 3 | {nothing} | 53.9 | 80.0 | 59.4 | 8.12 |",
        "| 7 | 22.0 ± 2.0 | 50.0 ± 0.0 | 17.0 ± 2.0 | - | - | - | 2.031 ± 0.001 | 50.0 ± 0.0 | 100 ± 0 | 100 "
        "| 3: 0, 1, 2 | 54.9 | 80.8 | 60.9 | 8.18 |",
        f"| 9 | {nothing} | 54.6 | 80.7 | 60.6 | 8.21 |",
        f"| 14 | {nothing} | 54.7 | 80.6 | 60.8 | 8.28 |",
    ]
    assert "'not run': no run has finished; '-': a run of the row lacks the value." in printed
    assert "Published: Faster R-CNN (C4) fine-tuned on VOC 2007 trainval + 2012 train" in printed
    assert (tmp_path / "tables" / "table4a.md").read_text(encoding="utf-8") == printed
    rows = (tmp_path / "tables" / "table4a.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == (
        "table,row,setting,runs,seeds,steps,linear mIoU mean,linear mIoU sd,linear accuracy mean,linear accuracy sd,"
        "k-means mIoU mean,k-means mIoU sd,AP mean,AP sd,AP50 mean,AP50 sd,AP75 mean,AP75 sd,"
        "peak GB mean,peak GB sd,ms per image mean,ms per image sd,"
        "total s mean,total s sd,published AP,published AP50,published AP75,published Mem. GB"
    )
    assert rows[1] == "table4a,0,,1,0,100,18,NA,50,NA,13,NA,NA,NA,NA,NA,NA,NA,2,NA,50,NA,100,NA,53.5,79.7,59.3,8.06"
    assert rows[2] == "table4a,1,,1,0,100,NA,NA,NA,NA,NA,NA,NA,NA,NA,NA,NA,NA,NA,NA,50,NA,100,NA,28.8,53.8,27.1,8.11"
    assert rows[3] == "table4a,3,,0,NA,NA,NA,NA,NA,NA,NA,NA,NA,NA,NA,NA,NA,NA,NA,NA,NA,NA,NA,NA,53.9,80.0,59.4,8.12"
    assert (
        rows[4] == "table4a,7,,3,0 1 2,100,22,2,50,0,17,2,NA,NA,NA,NA,NA,NA,2.031,0.001,50,0,100,0,54.9,80.8,60.9,8.18"
    )
    assert len(rows) == 7


def test_a_run_counts_in_every_table_that_it_fits(tmp_path: Path) -> None:
    a, d = tmp_path / "table4a", tmp_path / "table4d"
    write_pretraining(a / "0", 18.0, grid_size=0)
    write_pretraining(a / "1", 22.0, seed=0)
    write_pretraining(d / "0", 24.0, seed=1)
    write_pretraining(d / "1", 19.0, grid_position="before_projector")
    places = {"table4a": [0, 3], "table4b": [5], "table4c": [0], "table4d": [0, 1, 3], "table4e": [0, 2], "table4f": []}
    for name, expected in places.items():
        written, remarks = sorted_into(name, a, d)
        assert [index for index, line in enumerate(written) if "not run" not in line] == expected
        assert sum("23.0 ± 1.4" in line and "| 2: 0, 1 |" in line for line in written) == (name != "table4f")
        assert len(remarks) == {"table4b": 2, "table4c": 2, "table4f": 3}.get(name, name != "table4d")


def test_simsiam_is_one_row_whatever_the_weights_of_the_heads_it_lacks(tmp_path: Path) -> None:
    write_pretraining(tmp_path / "0", 18.0, grid_size=0, region=0.1)
    for name in ("table4a", "table4d", "table4e"):
        written, remarks = sorted_into(name, tmp_path)
        assert ["not run" in line for line in written] == [False, *[True] * (len(written) - 1)]
        assert remarks == []


def test_runs_that_fit_no_row_are_named(tmp_path: Path) -> None:
    write_pretraining(tmp_path / "a", 18.0, grid_size=5, region=0.1)
    write_pretraining(tmp_path / "b", 18.0, task="src.tasks.segment.Segment")
    write_run(tmp_path / "c", 0, 20.0)
    write_pretraining(tmp_path / "d", 18.0, grid_size=5, region=0.1, seed=1)
    written, remarks = sorted_into("table4b", tmp_path)
    assert all("not run" in line for line in written)
    assert remarks[:2] == [
        "In no row, nearest to row 1.0, but model.grid_size is 5 instead of 7, task.loss_weights.region is 0.1 instead "
        f"of 0: {tmp_path / 'a'}, {tmp_path / 'd'}.",
        'In no row, nearest to row 1.0, but task._target_ is "src.tasks.segment.Segment" instead of '
        f'"src.tasks.pretrain.Pretrain": {tmp_path / "b"}.',
    ]
    assert remarks[2].startswith('In no row, nearest to row 0, but task._target_ is "absent" instead of')
    assert remarks[2].endswith(f": {tmp_path / 'c'}.")


def test_runs_that_differ_in_more_than_the_seed_are_not_averaged(tmp_path: Path) -> None:
    write_pretraining(tmp_path / "a", 20.0, seed=0)
    write_pretraining(tmp_path / "b", 22.0, seed=1)
    write_pretraining(tmp_path / "c", 30.0, seed=2, batch_size=32)
    written, remarks = sorted_into("table4a", tmp_path)
    tail = "54.9 | 80.8 | 60.9 | 8.18 |"
    assert written[3:5] == [
        "| 7 | data.batch_size=16 | 21.0 ± 1.4 | 50.0 ± 0.0 | 16.0 ± 1.4 | - | - | - | 2.000 ± 0.000 | 50.0 ± 0.0 "
        f"| 100 ± 0 | 100 | 2: 0, 1 | {tail}",
        f"| 7 | data.batch_size=32 | 30.0 | 50.0 | 25.0 | - | - | - | 2.000 | 25.0 | 100 | 100 | 1: 2 | {tail}",
    ]
    assert written[0].startswith("| 0 | - | not run |")
    assert remarks == []
    lines, _ = collect(TABLES["table4a"], read_runs(tmp_path))
    assert [row.split(",")[:5] for row in comma_separated(TABLES["table4a"], {"": lines}).splitlines()[4:6]] == [
        ["table4a", "7", "data.batch_size=16", "2", "0 1"],
        ["table4a", "7", "data.batch_size=32", "1", "2"],
    ]


def test_a_run_made_twice_counts_once(tmp_path: Path) -> None:
    write_pretraining(tmp_path / "first", 20.0)
    write_pretraining(tmp_path / "second", 21.0)
    write_pretraining(tmp_path / "third", 21.0)
    written, remarks = sorted_into("table4a", tmp_path, tmp_path / "first", tmp_path)
    assert written[3].startswith("| 7 | 21.0 | 50.0 |")
    assert remarks == [
        f"{tmp_path / 'first'} is left out: {tmp_path / 'second'} is the same run again, with other scores.",
        f"{tmp_path / 'second'} is left out: {tmp_path / 'third'} is the same run again, with the same scores.",
    ]


def test_other_machines_and_unfinished_runs_are_named(script: Script, tmp_path: Path) -> None:
    write_pretraining(tmp_path / "0", 20.0)
    write_pretraining(tmp_path / "1", 21.0, seed=1, environment={**CPU, "devices": ["H200"]})
    for name in ("0", "2"):
        (tmp_path / name / ".hydra").mkdir(parents=True)
    assert sorted_into("table4a", tmp_path)[1] == [
        'Memory and time are not comparable between these machines or versions: devices=["H200"]; devices=["cpu"].'
    ]
    remark = f"Failed, stopped or still running, without scores.json: {tmp_path / '2'}."
    assert unfinished(tmp_path) == [remark]
    assert f"- {remark}" in script("--table", "table4a", tmp_path).splitlines()


def test_published_numbers_and_wrong_arguments(script: Script, tmp_path: Path) -> None:
    assert {name: len(table.rows) for name, table in TABLES.items()} == {f"table4{part}": 6 for part in "abc"} | {
        "table4d": 4,
        "table4e": 4,
        "table4f": 5,
    }
    assert TABLES["table4a"].columns == ["AP", "AP50", "AP75", "Mem. GB"]
    assert all(table.columns[:3] == ["AP", "AP50", "AP75"] for table in TABLES.values())
    assert all(len(row.published) == len(table.columns) for table in TABLES.values() for row in table.rows)
    assert TABLES["table4a"].rows[1].published == [28.8, 53.8, 27.1, 8.11]
    assert TABLES["table4c"].rows[3].published == [55.5, 81.1, 61.5]
    assert TABLES["table4e"].rows[1].published == [0.0, 0.0, 0.0]
    assert TABLES["table4f"].rows[4].published == [52.8, 79.2, 58.0]
    assert "invalid choice: 'table9' (choose from" in script("--table", "table9", tmp_path)
    assert "--output is for a table of the paper: add --table" in script("--output", tmp_path, tmp_path)
