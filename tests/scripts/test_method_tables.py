"""Made-up runs of several methods and data sets, sorted into Tables 3 and 5."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.collect_tables import PUBLISHED, main
from src.results.runs import read_runs
from src.results.tables.cells import COSTS
from src.results.tables.published import read_tables
from src.results.tables.sorting import collect, sections
from src.results.tables.writing import markdown

TABLES = read_tables(PUBLISHED)
FPN, COMPONENTS = "src.models.necks.SimplifiedFPN", "src.models.necks.PrincipalComponents"
TASKS = {
    "densesiam": "src.tasks.segment.Segment",
    "picie": "src.baselines.picie.PiCIE",
    "iic": "src.baselines.iic.IIC",
    "deepcluster": "src.baselines.deepcluster.DeepCluster",
}
EQ_8 = {"dense": "balanced", "aux": "balanced", "seg": 1.0, "region": 0.1}
HEADS = {"main": "balanced", "aux": "balanced"}
REFERENCES = (
    *("k-means on colour", "k-means on random features", "k-means on frozen features"),
    *("spherical k-means on frozen features", "merged clusters of frozen features"),
    "merged clusters of frozen features, 4 sets",
)
Script = Callable[..., str]


def write_run(folder: Path, method: str, miou: float, seed: int = 0, **changes: Any) -> None:
    """The `scores.json` of a made-up run: 200 images, 1 s of loading, 2 of clustering if there is any, 3 of steps.

    Args:
        folder: of the run.
        method: a name of TASKS.
        miou: after training.
        seed: of the run.
        changes: `weights` of the losses, `neck`, `root` of the data, `lr`, `frozen`, `step_seconds`, `references` (mIoU
            of those that were scored), `merged` (mIoU of the merged categories), `cost` to have another.
    """
    step = changes.get("step_seconds", 3.0)
    clustering = 2.0 if method in ("picie", "deepcluster") else 0.0
    parts = {"loading_seconds": 1.0, "clustering_seconds": clustering, "step_seconds": step}
    cost = {"train_seconds": sum(parts.values()), **parts, "train_images": 200}
    config = {
        "seed": seed,
        "data": {"_target_": "src.data.labelled_folder.LabelledFolder", "root": changes.get("root", "data/camvid")},
        "model": {"neck": {"_target_": changes.get("neck", FPN)}, "encoder": {"frozen": changes.get("frozen", True)}},
        "task": {
            "_target_": TASKS[method],
            "loss_weights": changes.get("weights", EQ_8 if method == "densesiam" else HEADS),
            "optimizer": {"lr": changes.get("lr", 0.05 if method == "densesiam" else 1e-4)},
        },
        "references": {label: {} for label in changes.get("references", {})},
    }
    config["data"]["batch_size"] = 16
    references = {"before training": 5.0, **changes["references"]} if "references" in changes else {}
    merged = {"after training, merged": changes["merged"]} if "merged" in changes else {}
    rows = {**references, "after training": miou, **merged}
    document = {
        "scores": {
            label: {"mIoU": value, "mIoU_stuff": value + 1, "mIoU_thing": value - 1, "accuracy": 50.0}
            for label, value in rows.items()
        },
        "protocol": {"data": Path(config["data"]["root"]).name, "images": 101, "protocol": "paper"},
        "cost": {"steps": 24, "total_seconds": 100.0, **changes.get("cost", cost)},
        "config": config,
        "environment": {"devices": ["cpu"]},
        "origin": {"weights": None},
    }
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text(json.dumps(document))


def lines_of(name: str, folder: Path) -> tuple[list[list[str]], list[str]]:
    """The cells of each line of a table on one data set, and the remarks."""
    table = TABLES[name]
    lines, remarks = collect(table, read_runs(folder))
    written = [line for line in markdown(table, lines, remarks).splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in written], remarks


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Script:
    """What the script prints when it is run with some arguments."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["collect_tables.py", *map(str, arguments)])
        main()
        return capsys.readouterr().out

    return run


def test_table_3_with_references_cost_and_published_numbers(tmp_path: Path) -> None:
    for seed in range(2):
        place = tmp_path / str(seed)
        references = dict(zip(REFERENCES, (10.0 + seed, 12.0, 20.0, 21.0, 24.0, 25.0), strict=True))
        references["before training, merged"] = 6.0
        write_run(place / "densesiam", "densesiam", 20.0 + 2 * seed, seed, references=references, merged=27.0)
        write_run(place / "picie_aux", "picie", 16.0, seed, step_seconds=5.0)
    write_run(tmp_path / "picie", "picie", 15.0, weights={**HEADS, "aux": 0})
    write_run(tmp_path / "deepcluster", "deepcluster", 9.0, weights={"main": 1.0, "aux": 0})
    write_run(tmp_path / "best", "densesiam", 30.0, neck=COMPONENTS, weights={**EQ_8, "aux": 0}, step_seconds=1.0)
    found, remarks = lines_of("table3", tmp_path)
    unknown = "- | - | - | - | - | - | 2: 0, 1 | - | - | - | -"
    single = f"50.0 ± 0.0 | - | - | {unknown}"
    assert [" | ".join(line) for line in found] == [
        f"before training | 5.0 ± 0.0 | 6.0 ± 0.0 | 4.0 ± 0.0 | 50.0 ± 0.0 | 6.0 ± 0.0 | 50.0 ± 0.0 | {unknown}",
        f"k-means on colour | 10.5 ± 0.7 | 11.5 ± 0.7 | 9.5 ± 0.7 | {single}",
        f"k-means on random features | 12.0 ± 0.0 | 13.0 ± 0.0 | 11.0 ± 0.0 | {single}",
        f"k-means on frozen features | 20.0 ± 0.0 | 21.0 ± 0.0 | 19.0 ± 0.0 | {single}",
        f"spherical k-means on frozen features | 21.0 ± 0.0 | 22.0 ± 0.0 | 20.0 ± 0.0 | {single}",
        f"merged clusters of frozen features | 24.0 ± 0.0 | 25.0 ± 0.0 | 23.0 ± 0.0 | {single}",
        f"merged clusters of frozen features, 4 sets | 25.0 ± 0.0 | 26.0 ± 0.0 | 24.0 ± 0.0 | {single}",
        "Modified Deep Clustering | 9.0 | 10.0 | 8.0 | 50.0 | - | - | 5.0 | 10.0 | 15.0 | 30.0 | 0.75 | 24 | 1: 0 "
        "| 9.8 | 22.2 | 11.6 | -",
        f"IIC | {' | '.join(['not run'] * 13)} | 6.7 | 12.0 | 13.6 | -",
        "PiCIE | 15.0 | 16.0 | 14.0 | 50.0 | - | - | 5.0 | 10.0 | 15.0 | 30.0 | 0.75 | 24 | 1: 0 | - | - | - | -",
        "PiCIE + aux. | 16.0 ± 0.0 | 17.0 ± 0.0 | 15.0 ± 0.0 | 50.0 ± 0.0 | - | - | 5.0 ± 0.0 | 10.0 ± 0.0 "
        "| 25.0 ± 0.0 | 40.0 ± 0.0 | 1.00 ± 0.00 | 24 | 2: 0, 1 | 14.4 | 17.3 | 23.8 | 18",
        "DenseSiam + aux. | 21.0 ± 1.4 | 22.0 ± 1.4 | 20.0 ± 1.4 | 50.0 ± 0.0 | 27.0 ± 0.0 | 50.0 ± 0.0 | 5.0 ± 0.0 "
        "| 0.0 ± 0.0 | 15.0 ± 0.0 | 20.0 ± 0.0 | 0.50 ± 0.00 | 24 | 2: 0, 1 | 16.4 | 24.5 | 29.5 | 5",
        "DenseSiam, best | 30.0 | 31.0 | 29.0 | 50.0 | - | - | 5.0 | 0.0 | 5.0 | 10.0 | 0.25 | 24 | 1: 0 "
        "| - | - | - | -",
    ]
    assert remarks == []


def test_settings_of_a_method_are_told_within_it_and_all_others_everywhere(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "densesiam", 20.0)
    write_run(tmp_path / "b", "densesiam", 22.0, frozen=False)
    write_run(tmp_path / "c", "picie", 16.0, lr=1e-4)
    write_run(tmp_path / "d", "picie", 17.0, lr=1e-3)
    write_run(tmp_path / "e", "picie", 18.0, lr=1e-3, frozen=False, step_seconds=6.0)
    write_run(tmp_path / "f", "iic", 8.0, frozen=False)
    found, remarks = lines_of("table3", tmp_path)
    run = [(line[0], line[1], line[2], line[-7]) for line in found if "not run" not in line]
    frozen, trained = "model.encoder.frozen=true", "model.encoder.frozen=false"
    assert run == [
        ("IIC", trained, "8.0", "0.44"),
        ("PiCIE + aux.", f"{frozen}, task.optimizer.lr=0.0001", "16.0", "-"),
        ("PiCIE + aux.", f"{frozen}, task.optimizer.lr=0.001", "17.0", "-"),
        ("PiCIE + aux.", f"{trained}, task.optimizer.lr=0.001", "18.0", "1.00"),
        ("DenseSiam + aux.", frozen, "20.0", "-"),
        ("DenseSiam + aux.", trained, "22.0", "0.44"),
    ]
    assert remarks == []


def test_each_data_set_is_a_table_under_what_can_not_be_compared(script: Script, tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "a", "densesiam", 20.0)
    write_run(tmp_path / "runs" / "b", "densesiam", 7.0, root="data/coco128")
    write_run(tmp_path / "runs" / "c", "picie", 8.0, root="data/coco128")
    printed = script("--table", "table3", "--output", tmp_path / "tables", tmp_path / "runs")
    lines = printed.splitlines()
    assert lines[0].startswith("Not comparable with the published numbers: those are for the 49,629 curated images")
    assert "another backbone" in lines[0]
    assert "another image size" in lines[0]
    assert lines[1].startswith(
        "Published stuff and thing numbers are means over blocks of a re-ordered confusion matrix"
    )
    assert [line for line in lines if line.startswith("## ")] == [
        "## table3 on camvid: methods of unsupervised semantic segmentation",
        "## table3 on coco128: methods of unsupervised semantic segmentation",
    ]
    ours = "mIoU | stuff | thing | accuracy | mIoU merged | accuracy merged | loading ms | clustering ms | step ms"
    ours += " | ms per image | x PiCIE + aux."
    published = "published mIoU | published stuff | published thing | published hours"
    assert f"| method | {ours} | steps | seeds | {published} |" in lines
    assert "- Scored: data: coco128; images: 101; protocol: paper." in lines
    assert any("5 / 18 = 0.28" in line and "1.64 times" in line for line in lines)
    assert (tmp_path / "tables" / "table3.md").read_text(encoding="utf-8") == printed
    rows = (tmp_path / "tables" / "table3.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0].startswith("table,data,row,setting,runs,seeds,steps,mIoU mean,mIoU sd,")
    assert rows[0].endswith("x PiCIE + aux. sd,published mIoU,published stuff,published thing,published hours")
    numbers = "20,NA,21,NA,19,NA,50,NA,NA,NA,NA,NA,5,NA,0,NA,15,NA,20,NA,NA,NA,16.4,24.5,29.5,5"
    assert f"table3,camvid,DenseSiam + aux.,,1,0,24,{numbers}" in rows
    assert f"table3,coco128,IIC,,0,NA,NA,{','.join(['NA'] * 22)},6.7,12.0,13.6,NA" in rows
    assert len(rows) == 27


def test_references_stay_when_a_later_sweep_makes_their_run_again_without_them(tmp_path: Path) -> None:
    write_run(tmp_path / "3", "densesiam", 20.0, references=dict.fromkeys(REFERENCES, 12.0))
    write_run(tmp_path / "5", "densesiam", 20.0)
    found, remarks = lines_of("table3", tmp_path)
    assert [(line[0], line[1]) for line in found if "not run" not in line] == [
        ("before training", "5.0"),
        *((label, "12.0") for label in REFERENCES),
        ("DenseSiam + aux.", "20.0"),
    ]
    again = f"{tmp_path / '5'} is the same run again, with the same scores."
    assert remarks == [f"{tmp_path / '3'} is left out: {again}"]


def test_folders_of_one_name_are_two_data_sets(tmp_path: Path) -> None:
    for place in ("here", "there"):
        write_run(tmp_path / place, "iic", 8.0, root=f"{place}/camvid")
    target = "LabelledFolder"
    assert list(sections(TABLES["table3"], read_runs(tmp_path))) == [
        f"camvid ({target}, here/camvid)",
        f"camvid ({target}, there/camvid)",
    ]


def test_table_5_and_runs_of_other_methods(tmp_path: Path) -> None:
    without: dict[str, Any] = {"aux": 0, "seg": 0, "region": 0}
    for row, weights in enumerate((without, {"seg": 0, "region": 0}, {"region": 0}, {})):
        write_run(tmp_path / str(row), "densesiam", 10.0 + row, weights=EQ_8 | weights, step_seconds=3.0 + 2 * row)
    write_run(tmp_path / "picie", "picie", 16.0)
    found, remarks = lines_of("table5", tmp_path)
    assert [(line[0], line[1], line[11], *line[-3:]) for line in found] == [
        ("PixSim", "10.0", "1.00", "10.1", "19.0", "17.7"),
        ("+ aux.", "11.0", "1.50", "11.1", "20.4", "22.3"),
        ("+ CE", "12.0", "2.00", "15.0", "24.8", "23.4"),
        ("+ RegionSim", "13.0", "2.50", "16.4", "24.5", "29.5"),
    ]
    assert len(remarks) == 1
    assert str(tmp_path / "picie") in remarks[0]


def test_a_run_that_kept_no_parts_has_dashes_for_them(tmp_path: Path) -> None:
    write_run(tmp_path / "old", "iic", 8.0, cost={"train_seconds": 3.84})
    (run,) = read_runs(tmp_path)
    found = {name: cost(run) for name, cost in COSTS.items()}
    assert found["ms per image"] == pytest.approx(10.0)  # 24 steps of 16 images
    assert found["loading ms"] is found["clustering ms"] is found["step ms"] is found["peak GB"] is None
