"""The jobs of a sweep: their folders, a search, and jobs that other programs launch."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import submitit
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.errors import MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from src.assembly.sweeps import check_search, check_sweep
from src.assembly.train import train
from src.command_line import OURS, PLUGINS, explained, run
from src.overrides import override
from src.run_labels import label
from src.run_names import MOST_LETTERS, job_name
from tests.composing import CONF, TINY_EPOCHS, composed
from tests.processes import command
from tests.refusals import refusal

SMALL = [*TINY_EPOCHS, "trainer.max_epochs=1", "references=none", "score_before=false", "estimate_steps=0"]
SMALL += ["protocol.resamples=0", "callbacks.progress=null"]


@pytest.fixture(autouse=True)
def no_hydra_is_left() -> Iterator[None]:
    state = Singleton.get_state()
    yield
    GlobalHydra.instance().clear()
    Singleton.set_state(state)
    HydraConfig.instance().cfg = None


def multirun(task: Callable[[DictConfig], Any], folder: Path, *arguments: str) -> Any:
    """What `python -m src.train -m ARGUMENTS` does, in this process."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        given = [*arguments, f"hydra.sweep.dir={folder}", "hydra.mode=MULTIRUN"]
        return hydra.multirun("train", task, given, with_log_configuration=False)


def folder_and_label(config: DictConfig) -> tuple[str, str, str]:
    return Path(HydraConfig.get().runtime.output_dir).name, label("name"), label("group")


def test_folders_and_labels_name_what_a_sweep_varies(tmp_path: Path) -> None:
    arguments = ["experiment=demo", "model.grid_size=null,7", "data.batch_size=4", "+ablation=pixsim", "seed=3"]
    (returned,) = multirun(folder_and_label, tmp_path / "sweep", *arguments)
    names = ["00_model.grid_size-null", "01_model.grid_size-7"]
    assert [each.return_value for each in returned] == [(name, name, "demo sweep") for name in names]
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir()) == names


def test_rows_of_a_table_name_their_folders(tmp_path: Path) -> None:
    (returned,) = multirun(folder_and_label, tmp_path / "sweep", "experiment=coco_pretrain", "+sweep=table4d")
    found = [each.return_value for each in returned]
    assert found[0] == ("00_ablation-simsiam", "00_ablation-simsiam", "coco_pretrain table4d sweep")
    assert len({name for name, *_ in found}) == 4


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("", "07"),
        ("+ablation=simsiam,seed=0", "07_ablation-simsiam_seed-0"),
        ("model/encoder=resnet18", "07_model-encoder-resnet18"),
        ("data.root=/a b/../ü", "07_data.root-a-b-..-"),
        ("~callbacks.progress", "07_callbacks.progress"),
    ],
)
def test_a_name_is_one_folder_that_needs_no_quotes(values: str, expected: str) -> None:
    assert job_name(7, values) == expected
    assert override("ckpt_path", f"multirun/{expected}/last.ckpt") == f"ckpt_path=multirun/{expected}/last.ckpt"


def test_long_names_are_cut_and_still_differ() -> None:
    names = {job_name(number, f"{'model.grid_size=7,' * 20}seed={seed}") for number, seed in [(1, 0), (1, 1), (2, 1)]}
    assert len(names) == 3
    assert {len(name) for name in names} == {MOST_LETTERS}
    assert all(re.fullmatch(r"[\w.-]+", name, re.ASCII) for name in names)


def test_labels_of_a_single_run_and_without_hydra(tmp_path: Path) -> None:
    assert [label(kind) for kind in ("name", "group", "job_type", "tags")] == [None] * 4
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["experiment=coco_picie"], return_hydra_config=True)
    config.hydra.mode, config.hydra.runtime.output_dir = RunMode.RUN, "outputs/coco_picie/2026-01-01"
    HydraConfig.instance().set_config(config)
    assert (label("name"), label("group")) == ("coco_picie 2026-01-01", "coco_picie")
    assert label("job_type") == "picie"
    assert label("tags") == ["coco_picie", "coco_stuff27", "picie", "resnet18_imagenet"]


@pytest.mark.slow
def test_a_search_maximises_the_primary_metric(tmp_path: Path) -> None:
    """The third trial fails, which ends nothing."""
    found: list[float] = []

    def task(config: DictConfig) -> float:
        if len(found) == 2:
            raise RuntimeError("a trial fails")
        found.append(train(config))
        return found[-1]

    search = ["hydra.sweeper.n_trials=3", "model.grid_size=choice(2,3)", "optimizer.lr=tag(log,interval(1e-4,1e-2))"]
    multirun(task, tmp_path, "+sweep=optuna", *SMALL, *search)
    best = OmegaConf.load(tmp_path / "optimization_results.yaml")
    assert best.best_value == max(found)
    assert set(best.best_params) == {"model.grid_size", "task.loss_weights.region", "optimizer.lr"}
    assert sum(1 for _ in tmp_path.glob("0?_model.grid_size-?_optimizer.lr-*/scores.json")) == 2


def test_a_search_without_scores_is_refused(tmp_path: Path) -> None:
    def task(config: DictConfig) -> float:
        refusal(lambda: check_search(False), "a search compares runs by their scores", "expected data with labels")
        check_search(True)
        return 1.0

    multirun(task, tmp_path, "+sweep=optuna", "experiment=demo", "hydra.sweeper.n_trials=1")
    check_search(False)  # outside of a search


def test_a_search_in_which_every_trial_fails_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def search() -> None:
        _ = optuna.create_study().best_trial

    monkeypatch.setattr(sys, "argv", ["train"])
    for name in ("HYDRA_FULL_ERROR", OURS, "OMP_WAIT_POLICY"):  # `run` sets these
        monkeypatch.setenv(name, "0")
    with pytest.raises(SystemExit, match=r"^every trial of the search has failed: correct what each has said above$"):
        run(search, "train")


@pytest.mark.parametrize("option", PLUGINS)
def test_a_missing_plugin_is_named_with_its_command(option: str) -> None:
    group = "hydra/sweeper" if option == "optuna" else "hydra/launcher"
    error = MissingConfigException("Could not find it", f"{group}/{option}", ["basic"])
    said = explained(error, [], "train")
    assert said == f"{group}={option} needs a plugin: pip install 'densesiam[{PLUGINS[option]}]'"


def launched(name: str, *arguments: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", [f"+launch={name}", "experiment=demo", *arguments], return_hydra_config=True)


def test_several_jobs_on_one_machine_have_one_thread_each() -> None:
    config = launched("joblib")
    assert config.hydra.launcher["_target_"].endswith("JoblibLauncher")
    assert (config.hydra.launcher.n_jobs, config.hydra.job.env_set.OMP_NUM_THREADS) == (2, "1")
    HydraConfig.instance().set_config(config)
    refusal(lambda: check_sweep(launched("joblib", "trainer=ddp_cpu"), []), "joblib", "trainer=default")


@pytest.mark.slow
def test_jobs_side_by_side_share_a_sweep(tmp_path: Path) -> None:
    result = command("src.train", "-m", "+launch=joblib", *SMALL, "seed=0,1", f"hydra.sweep.dir={tmp_path}")
    assert result.returncode == 0, result.stderr
    assert sorted(path.parent.name for path in tmp_path.glob("*/scores.json")) == ["00_seed-0", "01_seed-1"]


def test_jobs_of_slurm_are_submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Submitit's debug executor takes the same parameters and runs the jobs here, in place of a cluster."""
    auto = submitit.AutoExecutor

    def debug(cluster: str, folder: str, **_: Any) -> submitit.AutoExecutor:
        assert cluster == "slurm"
        return auto(folder, cluster="debug")

    monkeypatch.setattr(submitit, "AutoExecutor", debug)
    arguments = ["+launch=slurm", "experiment=demo", "seed=0,1", "hydra.launcher.partition=gpu"]
    (returned,) = multirun(folder_and_label, tmp_path / "sweep", *arguments)
    assert [each.return_value[0] for each in returned] == ["00_seed-0", "01_seed-1"]
    launcher = launched("slurm", "hydra.launcher.partition=gpu").hydra.launcher
    assert launcher["_target_"].endswith("SlurmLauncher")
    assert (launcher.partition, launcher.gpus_per_node, launcher.cpus_per_task) == ("gpu", 1, 8)


@pytest.mark.slow
def test_two_processes_go_through_two_jobs(tmp_path: Path) -> None:
    """With the command that a sweep without torchrun names; in the first job, both end by the same error."""
    arguments = ["trainer=ddp_cpu", *SMALL, "model.grid_size=-1,2,3"]
    refused = command("src.train", "-m", *arguments, f"hydra.sweep.dir={tmp_path / 'refused'}")
    named = re.search(
        r"torchrun --standalone --nproc_per_node=2 -m (src.train -m .* hydra.sweep.dir=DIR)", refused.stderr
    )
    assert named is not None, refused.stderr
    work = named[1].replace("DIR", str(tmp_path / "sweep")).split()
    result = command("torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", *work)
    assert "grid_size is -1: expected" in result.stderr
    finished = sorted(path.parent.name for path in (tmp_path / "sweep").glob("*/scores.json"))
    assert finished == ["01_model.grid_size-2", "02_model.grid_size-3"]
    assert composed(tmp_path, "trainer=ddp_cpu").trainer.devices == 2
