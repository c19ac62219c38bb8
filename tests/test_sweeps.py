"""Every sweep composes, each of its jobs to the values of a row of the paper's table."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from scripts.collect_tables import PUBLISHED
from src.overrides import flat
from src.results.runs import Run, read_runs
from src.results.tables.published import read_tables
from src.results.tables.sorting import departures, unfinished
from src.results.tables.transfer import read_transfers
from tests.composing import CONF, composed

SWEEPS = sorted(path.stem for path in (CONF / "sweep").glob("table*.yaml"))
SMALL = ["simsiam", "pixsim_without_regionsim", "regionsim_from_050"]  # rows of the small Table 2
PRETRAINING = [name for name in SWEEPS if name.startswith("table4")]
SEGMENTATION = ("camvid_seg", "coco128_seg", "nyu13_seg", "coco_seg", "demo")
VALUES = (
    "model.grid_size",
    "model.grid_position",
    "model.global_region",
    "task.loss_weights.dense",
    "task.loss_weights.region",
    "task.region_start",
)
JOBS: dict[str, list[tuple[Any, ...]]] = {  # VALUES of each job; the image-level branch always weighs 1
    "table4a": [(k, "after_predictor", "image", 1.0, 0, 0.5) for k in (0, 1, 3, 7, 9, 14)],
    "table4b": [(7, "after_predictor", "image", weight, 0, 0.5) for weight in (0, 0.1, 0.3, 0.5, 0.7, 1.0)],
    "table4c": [(7, "after_predictor", "image", 1.0, weight, 0.5) for weight in (0, 0.01, 0.05, 0.1, 0.2, 0.5)],
    "table4d": [
        (0, "after_predictor", "image", 1.0, 0, 0.5),
        (7, "before_projector", "image", 1.0, 0, 0.5),
        (7, "after_projector", "image", 1.0, 0, 0.5),
        (7, "after_predictor", "image", 1.0, 0, 0.5),
    ],
    "table4e": [
        (0, "after_predictor", "image", 1.0, 0, 0.5),
        (7, "after_predictor", "intersection", 0, 0, 0.5),
        (7, "after_predictor", "image", 1.0, 0, 0.5),
        (7, "after_predictor", "intersection", 1.0, 0, 0.5),
    ],
    "table4f": [
        (7, "after_predictor", "image", 1.0, 0.1, None),
        (7, "after_predictor", "image", 1.0, 0.1, 0.4),
        (7, "after_predictor", "image", 1.0, 0.1, 0.5),
        (7, "after_predictor", "image", 1.0, 0.1, 0.6),
        (7, "after_predictor", "image", 0, 0.1, 0.5),
    ],
}


def jobs(*arguments: str) -> list[list[str]]:
    """The overrides of each job that `python -m src.train -m ARGUMENTS` would run."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        config = hydra.compose_config("train", list(arguments), run_mode=RunMode.MULTIRUN)
    swept = [f"{name}={values}" for name, values in config.hydra.sweeper.params.items()]
    overrides = OverridesParser.create().parse_overrides([*swept, *config.hydra.overrides.task])
    (batch,) = BasicSweeper.split_arguments(overrides, None)
    return batch


def values_of(output: Path, job: list[str]) -> dict[str, Any]:
    """The config of a job by dotted names."""
    config = OmegaConf.to_container(composed(output, *job), resolve=True)
    assert isinstance(config, dict)
    return flat({str(name): value for name, value in config.items()})


def rows_of(table: str, composed_jobs: list[dict[str, Any]], place: Path) -> list[list[str]]:
    """The names of the rows of a table that each job's config fits; not what is scored within another row's runs."""
    rows = [row for row in read_tables(PUBLISHED)[table].rows if row.beside is None]
    return [[row.name for row in rows if not departures(Run(place, {}, values), row)] for values in composed_jobs]


def test_every_sweep_has_its_jobs_written_here() -> None:
    assert sorted(JOBS) == PRETRAINING
    assert sorted([*JOBS, "table3", "table5"]) == SWEEPS
    assert {name: len(rows) for name, rows in JOBS.items()} == {
        "table4a": 6,
        "table4b": 6,
        "table4c": 6,
        "table4d": 4,
        "table4e": 4,
        "table4f": 5,
    }


@pytest.mark.parametrize("name", SWEEPS)
def test_first_lines_say_how_to_run_it(name: str) -> None:
    head = (CONF / "sweep" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[:3]
    assert head[0] == "# @package _global_"
    pretraining = f"experiment=coco_pretrain +sweep={name}"
    what = pretraining if name in PRETRAINING else f"+sweep={name} experiment=camvid_seg data.root=DIR"
    assert head[1] == f"# python -m src.train -m {what} seed=0,1,2"
    assert head[2].startswith(f"# Table {name.removeprefix('table')}: ")


@pytest.mark.parametrize("name", PRETRAINING)
def test_each_job_is_a_row_of_the_table_and_no_other(name: str, tmp_path: Path) -> None:
    composed_jobs = [values_of(tmp_path, job) for job in jobs("experiment=coco_pretrain", f"+sweep={name}")]
    assert [tuple(values[value] for value in VALUES) for values in composed_jobs] == JOBS[name]
    assert {values["task.loss_weights.image"] for values in composed_jobs} == {1.0}
    assert rows_of(name, composed_jobs, tmp_path) == [[row.name] for row in read_tables(PUBLISHED)[name].rows]


@pytest.mark.parametrize("experiment", SEGMENTATION)
def test_the_methods_of_table_3_and_what_is_scored_beside_them(experiment: str, tmp_path: Path) -> None:
    methods = [values_of(tmp_path, job) for job in jobs("+sweep=table3", f"experiment={experiment}")]
    names = ["DenseSiam + aux.", "PiCIE + aux.", "PiCIE", "Modified Deep Clustering", "IIC"]
    assert rows_of("table3", methods, tmp_path) == [[name] for name in names]
    assert [values["score_before"] for values in methods] == [True, False, False, False, False]
    references = [
        sorted({name.split(".")[1] for name in values if name.startswith("references.")}) for values in methods
    ]
    kmeans = ["kmeans_colour", "kmeans_features", "kmeans_random_features"]
    assert references == [[*kmeans, "merged_features", "merged_sets", "spherical_features"], [], [], [], []]
    assert {values["trainer.check_val_every_n_epoch"] for values in methods} == {methods[0]["trainer.max_epochs"]}
    assert {values["estimate_steps"] for values in methods} == {0}
    alone = values_of(tmp_path, [f"experiment={experiment}"])
    own = ("task.", "references", "trainer.check_val_every_n_epoch", "estimate_steps", "score_before")
    for values in methods:
        changed = [name for name in {*values, *alone} if values.get(name, "no") != alone.get(name, "no")]
        assert [name for name in changed if not name.startswith(own)] == []
    assert {name: methods[0][name] for name in alone if name.startswith("task.")} == {
        name: value for name, value in alone.items() if name.startswith("task.")
    }


def optimizer_of(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name.startswith("optimizer.")}


@pytest.mark.parametrize("experiment", SEGMENTATION)
def test_the_losses_of_table_5(experiment: str, tmp_path: Path) -> None:
    rows = [values_of(tmp_path, job) for job in jobs("+sweep=table5", f"experiment={experiment}")]
    assert rows_of("table5", rows, tmp_path) == [["PixSim"], ["+ aux."], ["+ CE"], ["+ RegionSim"]]
    weights = [[values[f"task.loss_weights.{loss}"] for loss in ("dense", "aux", "seg", "region")] for values in rows]
    assert weights == [
        ["balanced", 0, 0, 0],
        ["balanced", "balanced", 0, 0],
        ["balanced", "balanced", 1.0, 0],
        ["balanced", "balanced", 1.0, 0.1],
    ]
    own = optimizer_of(values_of(tmp_path, [f"experiment={experiment}"]))
    assert [optimizer_of(values) for values in rows] == [own] * 4
    assert {values["score_before"] for values in rows} == {False}
    assert not [name for values in rows for name in values if name.startswith("references.")]


def test_seeds_multiply_with_the_rows() -> None:
    names = ("simsiam", "pixsim_before_projector", "pixsim_after_projector", "pixsim")
    assert jobs("experiment=coco_pretrain", "+sweep=table4d", "seed=0,1") == [
        [f"+ablation={name}", "experiment=coco_pretrain", "+sweep=table4d", f"seed={seed}"]
        for name in names
        for seed in (0, 1)
    ]
    assert len(jobs("experiment=coco_pretrain", "+sweep=table4a", "seed=0,1,2")) == 18


def test_the_pretraining_runs_of_the_small_table_2(tmp_path: Path) -> None:
    found = jobs("+sweep=small_table2", "experiment=small_pretrain", "seed=0,1,2")
    assert [(job[0], job[-1]) for job in found] == [
        (f"+ablation={row}", f"seed={n}") for row in SMALL for n in (0, 1, 2)
    ]
    rows = [row for row in read_transfers(PUBLISHED)["small_table2"].rows if row.values]
    alone = values_of(tmp_path, ["experiment=small_pretrain"])
    for place, job in enumerate(found[::3]):
        values = values_of(tmp_path, job)
        fitting = [row.name for row in rows if not departures(Run(tmp_path, {}, values), row)]
        assert fitting == [["SimSiam", "PixSim", "PixSim + RegionSim"][place]]
        changed = {name for name in values if values[name] != alone[name] and not name.startswith("task.network.")}
        assert changed - {"estimate_steps"} == [{"model.grid_size"}, {"task.loss_weights.region"}, set()][place]


@pytest.mark.parametrize("experiment", ["small_probe", "small_table2_fcn", "small_table2_faster_rcnn"])
def test_the_starts_of_the_small_table_2_have_the_seed_of_their_use(experiment: str, tmp_path: Path) -> None:
    every = jobs("+sweep=small_table2_starts", f"experiment={experiment}")
    assert len(every) == 12
    found = [values_of(tmp_path, every[place]) for place in (1, 3, 7, 11)]
    files = [f"multirun/small_table2/{row}_{seed}/checkpoints/last.ckpt" for seed, row in enumerate(SMALL)]
    assert [values["model.encoder.weights"] for values in found] == [None, *files]
    assert [values["seed"] for values in found] == [1, 0, 1, 2]
    assert {values["model.encoder.name"] for values in found} == {"resnet18"}


@pytest.mark.parametrize("experiment", ["demo", "dense_probe"])
def test_five_trials_of_any_experiment_differ_in_their_seed_alone(experiment: str, tmp_path: Path) -> None:
    trials = [values_of(tmp_path, job) for job in jobs("+sweep=five_trials", f"experiment={experiment}")]
    assert [values["seed"] for values in trials] == [0, 1, 2, 3, 4]
    alone = values_of(tmp_path, [f"experiment={experiment}"])
    assert trials[0] == alone
    differing = {name for values in trials for name in alone if values[name] != alone[name]}
    assert {name.rpartition(".")[2] for name in differing} == {"seed"}
    fewer = jobs("+sweep=five_trials", f"experiment={experiment}", "seed=7,8")
    assert [values_of(tmp_path, job)["seed"] for job in fewer] == [7, 8]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["+sweep=table4a", "model.grid_size=3,5"], [(3, "image", 0), (5, "image", 0)]),
        (["+sweep=table4a", "model.grid_size=3", "task.loss_weights.region=0.2"], [(3, "image", 0.2)]),
        (["+sweep=table4e", "+ablation=pixsim_intersection", "model.grid_size=5"], [(5, "intersection", 0)]),
    ],
)
def test_the_command_line_wins(arguments: list[str], expected: list[tuple[Any, ...]], tmp_path: Path) -> None:
    found = [values_of(tmp_path, job) for job in jobs("experiment=coco_pretrain", *arguments)]
    names = ("model.grid_size", "model.global_region", "task.loss_weights.region")
    assert [tuple(values[name] for name in names) for values in found] == expected


def test_rows_belong_to_sweeps() -> None:
    text = "\n".join((CONF / "sweep" / f"{name}.yaml").read_text(encoding="utf-8") for name in SWEEPS)
    rows = [path.stem for path in (CONF / "ablation").glob("*.yaml")]
    assert len(rows) == 21
    text += (CONF / "sweep" / "small_table2.yaml").read_text(encoding="utf-8")
    swept = {row for line in text.splitlines() if "+ablation: " in line for row in line.split(": ")[1].split(",")}
    assert swept == set(rows)


@pytest.mark.slow
def test_a_sweep_goes_on_without_a_job_that_fails(tmp_path: Path) -> None:
    small = ["debug=tiny", "data.train_scenes=8", "data.val_scenes=5", "data.scene_size=32"]
    swept = ["experiment=demo_pretrain", "+sweep=table4a", "model.grid_size=-1,0,2", "hydra.sweep.dir=runs"]
    result = subprocess.run(
        [sys.executable, "-m", "src.train", *swept, *small], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 1
    assert "grid_size is -1: expected" in result.stderr
    assert "Traceback" not in result.stderr
    runs = read_runs(tmp_path / "runs")
    assert [(run.folder.name, run.values["model.grid_size"]) for run in runs] == [
        ("01_model.grid_size-0", 0),
        ("02_model.grid_size-2", 2),
    ]
    assert unfinished(tmp_path / "runs") == [
        f"Failed, stopped or still running, without scores.json: {tmp_path / 'runs' / '00_model.grid_size--1'}."
    ]
