"""The file of a run in wandb, read back: everything that a dashboard needs is in it, also offline."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.assembly.train import train
from src.errors import DenseSiamError, plain_errors
from src.training.continuation import start_at
from src.training.loggers import Wandb
from src.training.wandb_runs import begin, check_id, wandb_closed
from tests.composing import CONF, TINY_EPOCHS, composed
from tests.refusals import refusal
from tests.wandb_file import WandbRun, read_run

SHORT = [*TINY_EPOCHS, "trainer.max_epochs=2", "trainer.log_every_n_steps=10", "references=none", "estimate_steps=0"]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")


@pytest.fixture
def as_hydra_starts_it() -> Iterator[None]:
    """The first job of a sweep, as Hydra describes it to the job."""
    arguments = ["experiment=demo", "+sweep=table5", "model.grid_size=4", "task.loss_weights.region=0.1"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", arguments, return_hydra_config=True)
    config.hydra.mode = "MULTIRUN"
    config.hydra.job.num, config.hydra.sweep.dir = 0, "multirun/demo/2026-01-01_00-00-00_abcdef"
    config.hydra.job.override_dirname = "model.grid_size=4,task.loss_weights.region=0.1"
    HydraConfig.instance().set_config(config)
    yield
    HydraConfig.instance().cfg = None


def files(folder: Path) -> list[Path]:
    """The runs' files, complete: wandb's own process writes them, and may be behind until it ends."""
    wandb.teardown()
    return sorted(folder.glob("wandb/*run-*/*.wandb"))


def rows_with(run: WandbRun, name: str) -> list[Any]:
    return [row[name] for row in run.rows if name in row]


@pytest.mark.usefixtures("as_hydra_starts_it")
def test_a_run_has_what_a_dashboard_needs(tmp_path: Path) -> None:
    train(composed(tmp_path, *SHORT, "logger=wandb", "task.region_start=0.0"))
    (file,) = files(tmp_path)
    found = read_run(file)
    assert found.run.project == "densesiam"
    assert found.run.display_name == "00_model.grid_size-4_task.loss_weights.region-0.1"
    assert found.run.run_group == "demo table5 2026-01-01_00-00-00_abcdef"
    assert found.run.job_type == "segment_demo"
    assert list(found.run.tags) == ["demo", "table5", "demo_scenes", "segment_demo", "resnet18_half"]
    assert found.config["task"]["loss_weights"]["region"] == 0.1
    for name in ("loss/dense", "loss/region", "loss/total", "optimizer/learning_rate", "optimizer/gradient_norm"):
        assert len(rows_with(found, name)) == 2, name  # two epochs of two steps, although only every tenth is asked for
    assert all(value > 0 for value in rows_with(found, "optimizer/gradient_norm"))
    scores = ("densesiam/mIoU", "densesiam_merged/mIoU")
    for name in ("collapse/dense/spread", "label_free/consistency", *scores, "epoch_seconds"):
        assert rows_with(found, name), name
    assert {"png"} == {*rows_with(found, "pictures/densesiam.format")}
    assert (file.parent / "files" / rows_with(found, "pictures/densesiam.filenames")[-1][0]).is_file()
    table = json.loads((file.parent / "files" / found.summary["scores.path"]).read_text())
    labels = ["before training", "before training, merged", "after training", "after training, merged"]
    assert [row[0] for row in table["data"]] == labels
    assert found.summary["scores/mIoU"] == table["data"][2][table["columns"].index("mIoU")]  # of the scored head
    assert {"mIoU", "mIoU_low", "mIoU_high", "accuracy"} <= set(table["columns"])
    assert 0 < found.summary["scores/mIoU_low"] <= found.summary["scores/mIoU"] <= found.summary["scores/mIoU_high"]
    assert found.exit_code == 0
    assert wandb.run is None
    with (tmp_path / "csv" / "metrics.csv").open() as rows:
        assert len([row for row in csv.DictReader(rows) if row["loss/total"]]) == 2


def test_each_job_closes_its_run_also_after_an_error(tmp_path: Path) -> None:
    broken = ["optimizer.lr=1e30", "score_before=false"]
    with pytest.raises(DenseSiamError):
        train(composed(tmp_path / "broken", *SHORT, "logger=wandb", *broken))
    assert wandb.run is None
    (file,) = files(tmp_path / "broken")
    assert read_run(file).exit_code == 1


def test_a_resumed_run_goes_on_under_its_id(tmp_path: Path) -> None:
    train(composed(tmp_path / "first", *SHORT, "logger=wandb", "score_before=false"))
    checkpoint = tmp_path / "first" / "checkpoints" / "last.ckpt"
    (first,) = files(tmp_path / "first")
    again = ["trainer.max_epochs=3", "task.region_start=0.3", f"ckpt_path={checkpoint}", "score_before=false"]
    train(composed(tmp_path / "second", *SHORT, "logger=wandb", *again))
    (second,) = files(tmp_path / "second")
    assert read_run(second).run.run_id == read_run(first).run.run_id == start_at(str(checkpoint)).wandb_id
    chosen = Wandb(str(tmp_path), id="mine")
    chosen.go_on_with("another")
    assert chosen.version == "mine"


@pytest.mark.parametrize("strange", ["../elsewhere", "", 3, ["a"], "a" * 65])
def test_a_strange_id_is_refused(strange: object) -> None:
    refusal(lambda: check_id("wandb_id in last.ckpt", strange), "wandb_id in last.ckpt is", "letters, digits")


def test_a_checkpoint_without_a_good_id_is_refused(tmp_path: Path) -> None:
    train(composed(tmp_path, *SHORT, "score_before=false", "trainer.max_epochs=1"))
    path = tmp_path / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=False)
    assert checkpoint["wandb_id"] is None
    torch.save(checkpoint | {"wandb_id": "a/b"}, tmp_path / "strange.ckpt")
    refusal(lambda: start_at(str(tmp_path / "strange.ckpt")), "wandb_id in ", "'a/b'")


def test_without_a_key_the_run_is_kept_offline_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    wandb.teardown()  # wandb reads the environment only once
    with pytest.warns(UserWarning, match=r"wandb can't be reached \(No API key configured.*`wandb sync`") as caught:
        train(composed(tmp_path, *SHORT, "logger=wandb", "trainer.max_epochs=1", "score_before=false"))
    assert len([each for each in caught if "wandb" in str(each.message)]) == 1
    (file,) = files(tmp_path)
    assert rows_with(read_run(file), "loss/dense")


def test_without_a_network_the_run_is_kept_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init, modes = wandb.init, []

    def unreachable(**options: object) -> object:
        modes.append(options.get("mode"))
        if options.get("mode") != "offline":
            raise wandb.errors.CommError("Run initialization has timed out after 30 sec.\nConsider waiting.")
        return init(**options)

    monkeypatch.setattr(wandb, "init", unreachable)
    with wandb_closed(), pytest.warns(UserWarning, match=r"\(Run initialization has timed out after 30 sec\)"):
        begin({"dir": str(tmp_path), "project": "densesiam", "id": "abc", "resume": "allow"})
    assert modes == [None, "offline"]
    assert len(files(tmp_path)) == 1


def test_options_that_wandb_refuses_are_the_users_mistake(tmp_path: Path) -> None:
    for strange in ({"project": "a/b"}, {"group": 3}, {"no_option": 1}):
        said = ["wandb can't start a run: ", "change logger.wandb"]
        refusal(lambda o=strange: begin({"dir": str(tmp_path), "project": "p", **o}), *said)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("logger.wandb.group=3", "logger.wandb.group is 3: expected a text, or null"),
        ("logger.wandb.tags=abc", "logger.wandb.tags is 'abc': expected a list of texts"),
        ("logger.wandb.tags=[3]", "logger.wandb.tags is [3]: expected a list of texts"),
        (f"logger.wandb.tags=[{'a' * 65}]", "expected a list of texts of 1 to 64 letters"),
        ("logger.wandb.offline=3", "logger.wandb.offline is 3: expected true or false"),
        ("logger.wandb.id='a/b'", "logger.wandb.id is 'a/b': expected a wandb run's id"),
    ],
)
def test_values_of_the_logger_are_checked(value: str, message: str, tmp_path: Path) -> None:
    def run() -> None:
        with plain_errors():  # as the command does
            train(composed(tmp_path, *SHORT, "logger=wandb", value))

    refusal(run, message)


def test_runs_of_tensorboard_have_config_scores_and_the_csv_file(tmp_path: Path) -> None:
    train(composed(tmp_path, *SHORT, "logger=tensorboard", "trainer.max_epochs=1"))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    tags = events.Tags()
    assert {"optimizer/learning_rate", "optimizer/gradient_norm", "scores/mIoU", "loss/total"} <= set(tags["scalars"])
    assert len(events.Scalars("loss/total")) == 1
    (table,) = events.Tensors("scores/text_summary")
    assert b"| after training | " in table.tensor_proto.string_val[0]
    assert (tmp_path / "csv" / "metrics.csv").is_file()
