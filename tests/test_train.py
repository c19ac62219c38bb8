"""Training and evaluating as a user does: what a run leaves behind, and how mistakes end."""

import csv
import json
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.assembly.evaluate import evaluate
from src.assembly.train import train
from src.checkpoints.reading import read_checkpoint
from src.errors import DenseSiamError, plain_errors
from src.prediction.loading import load
from tests.composing import composed
from tests.processes import command

ROOT = Path(__file__).parents[1]
TINY = ["experiment=demo", "debug=tiny", "trainer.fast_dev_run=false", "trainer.max_epochs=2"]
TINY += ["data.train_scenes=8", "data.val_scenes=5", "data.scene_size=32"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished tiny run."""
    output = tmp_path_factory.mktemp("run")
    train(composed(output, *TINY))
    return output


def test_a_run_leaves_scores_pictures_log_and_checkpoint(finished: Path) -> None:
    written = json.loads((finished / "scores.json").read_text())
    before, after = (f"{when} training" for when in ("before", "after"))
    assert list(written["scores"]) == [before, f"{before}, merged", "k-means on colour", after, f"{after}, merged"]
    assert written["cost"]["steps"] == 4
    assert written["protocol"]["matching"] == "hungarian"
    assert written["config"]["data"]["batch_size"] == 4
    names = sorted(path.name for path in (finished / "pictures").iterdir())
    assert names == [
        "densesiam_step000000.png",
        "densesiam_step000002.png",
        "densesiam_step000004.png",
        "kmeans_colour_step000000.png",
    ]
    assert sorted(path.name for path in (finished / "checkpoints").iterdir()) == ["last.ckpt", "previous.ckpt"]
    header = (finished / "csv" / "metrics.csv").read_text().splitlines()[0]
    for column in (
        "densesiam/mIoU",
        "densesiam_merged/mIoU",
        "loss/dense",
        "weighted/dense",
        "epoch_seconds",
        "epoch_loading_seconds",
    ):
        assert column in header.split(",")


def test_the_same_seed_gives_the_same_run(finished: Path, tmp_path: Path) -> None:
    train(composed(tmp_path, *TINY, "data.num_workers=1"))
    first, second = (torch.load(path / "checkpoints" / "last.ckpt") for path in (finished, tmp_path))
    assert first["state_dict"].keys() == second["state_dict"].keys()
    assert all(torch.equal(value, second["state_dict"][name]) for name, value in first["state_dict"].items())
    train(composed(tmp_path / "other", *TINY, "seed=1"))
    other = torch.load(tmp_path / "other" / "checkpoints" / "last.ckpt")["state_dict"]
    assert not all(torch.equal(value, other[name]) for name, value in first["state_dict"].items())


def test_evaluate_needs_only_the_checkpoint(finished: Path, tmp_path: Path) -> None:
    checkpoint = finished / "checkpoints" / "last.ckpt"
    score = evaluate(composed(tmp_path, f"ckpt_path={checkpoint}", name="evaluate"))
    trained = json.loads((finished / "scores.json").read_text())["scores"]["after training"]
    evaluated = json.loads((tmp_path / "scores.json").read_text())["scores"]["checkpoint"]
    assert evaluated == pytest.approx(trained)
    assert score == pytest.approx(trained["mIoU"])
    assert (tmp_path / "pictures").is_dir()


def test_load_gives_the_trained_network(finished: Path) -> None:
    checkpoint = finished / "checkpoints" / "last.ckpt"
    model = load(checkpoint).network
    images = torch.rand(2, 3, 64, 48)
    logits = model(images)
    assert logits.shape == (2, 8, 16, 12)
    assert not model.training
    saved = read_checkpoint(checkpoint)["state_dict"]
    state = model.state_dict()
    heads = {"heads.main": "network.head.projector", "heads.merged.1": "merging"}
    heads |= dict.fromkeys(("heads.aux", "heads.merged.0"), "network.aux_head.projector")
    for name, value in state.items():
        head = next((head for head in heads if name.startswith(f"{head}.")), None)
        assert torch.equal(value, saved[name.replace(head, heads[head]) if head else f"network.{name}"])
    assert not any("predictor" in name or "region" in name for name in state)


def test_a_checkpoint_that_would_call_foreign_code_is_refused(finished: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(finished / "checkpoints" / "last.ckpt")
    checkpoint["config"]["model"]["neck"] = {"_target_": "torch.save", "obj": 1, "f": str(tmp_path / "written")}
    torch.save(checkpoint, tmp_path / "foreign.ckpt")
    with pytest.raises(DenseSiamError, match=r"wants to call torch\.save"):
        load(tmp_path / "foreign.ckpt")
    assert not (tmp_path / "written").exists()


def test_speed_is_logged_each_epoch(tmp_path: Path) -> None:
    train(composed(tmp_path, *TINY, "data.train_scenes=12", "trainer.log_every_n_steps=2"))  # 3 steps an epoch
    with (tmp_path / "csv" / "metrics.csv").open() as file:
        speeds = [float(row["images_per_second"]) for row in csv.DictReader(file) if row["images_per_second"]]
    assert len(speeds) == 2
    assert all(speed > 0 for speed in speeds)


def test_load_refuses_a_checkpoint_that_lacks_weights(finished: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(finished / "checkpoints" / "last.ckpt")
    checkpoint["state_dict"].pop("network.neck.laterals.0.weight")
    torch.save(checkpoint, tmp_path / "cut.ckpt")
    with pytest.raises(DenseSiamError, match=r"lacks 1 weights .* 'network.neck.laterals.0.weight'"):
        load(tmp_path / "cut.ckpt")


def test_half_precision_runs(tmp_path: Path) -> None:
    half = ["trainer.precision=bf16-mixed", "trainer.max_epochs=1", "task.region_start=0.0"]
    score = train(composed(tmp_path, *TINY, *half))
    assert 0 < score < 100


def test_best_by_labels_is_kept_only_behind_its_switch(tmp_path: Path) -> None:
    train(composed(tmp_path, *TINY, "callbacks=best_by_labelled_miou"))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["best_by_labelled_miou.ckpt", "last.ckpt", "previous.ckpt"]


def test_resuming_goes_on_from_the_checkpoint(finished: Path, tmp_path: Path) -> None:
    checkpoint = finished / "checkpoints" / "last.ckpt"
    # RegionSim begins with the first epoch, of two as of three.
    train(composed(tmp_path, *TINY, "trainer.max_epochs=3", f"ckpt_path={checkpoint}"))
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 6


def test_tensorboard_by_one_word_gets_scores_and_pictures(tmp_path: Path) -> None:
    train(composed(tmp_path, *TINY, "trainer.max_epochs=1", "logger=tensorboard"))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"loss/dense", "densesiam/mIoU", "kmeans_colour/mIoU"} <= set(events.Tags()["scalars"])
    assert {"pictures/densesiam", "pictures/kmeans_colour"} <= set(events.Tags()["images"])


def test_wandb_by_one_word_works_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for job in ("first", "second"):
        train(composed(tmp_path / job, *TINY, "trainer.max_epochs=1", "logger=wandb", "references=none"))
        (run,) = (tmp_path / job).glob("wandb/offline-run-*")  # each job of a sweep is a run of its own
    assert list(run.glob("*.wandb"))
    assert list(run.glob("files/media/images/pictures/densesiam*.png"))


def test_a_multirun_sweeps_values(tmp_path: Path) -> None:
    sweep = ["task.loss_weights.region=0,0.1", "model.grid_size=3", f"hydra.sweep.dir={tmp_path}"]
    result = command("src.train", "-m", *TINY, *sweep, "trainer.max_epochs=1", "score_before=false", "references=none")
    assert result.returncode == 0, result.stderr
    weights = [
        json.loads((tmp_path / job / "scores.json").read_text())["config"]["task"]["loss_weights"]["region"]
        for job in ("00_task.loss_weights.region-0", "01_task.loss_weights.region-0.1")
    ]
    assert weights == [0, 0.1]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["experiment=camvid_seg", "data.root=nowhere"],
            "data.root is 'nowhere', which is not a folder: expected images/",
        ),
        (["data.batch_size=99"], "batch_size is 99, but there are 8 training images"),
        (["model.num_categories=5"], "found 5 clusters and 8 classes"),
        (["+data.strange=1"], "strange: take it out, or correct its name"),
        (["+strange=1"], "the config has strange: expected only"),
        (["+task.loss_weights.pixel=2"], "loss_weights has pixel"),
        (["ckpt_path=nowhere.ckpt"], "there is no file nowhere.ckpt: expected a checkpoint"),
    ],
)
def test_mistakes_are_one_line(overrides: list[str], message: str, tmp_path: Path) -> None:
    demo = [] if overrides[0].startswith("experiment") else TINY
    with pytest.raises(DenseSiamError, match=message) as caught, plain_errors():
        train(composed(tmp_path, *demo, *overrides))
    assert "\n" not in str(caught.value)


def test_a_missing_value_is_named(tmp_path: Path) -> None:
    with pytest.raises(DenseSiamError, match="ckpt_path has no value: set ckpt_path=") as caught, plain_errors():
        evaluate(composed(tmp_path, name="evaluate"))
    assert caught.value.__cause__ is None  # Hydra prints a cause of OmegaConf's beside the message
    with pytest.raises(DenseSiamError, match="name has no value"), plain_errors():
        train(composed(tmp_path, *TINY[:2], "model/encoder=timm", "data.train_scenes=8"))


def test_coco_seg_without_coco_ends_with_one_line_and_no_traceback(tmp_path: Path) -> None:
    result = command("src.train", "experiment=coco_seg", "data.root=nowhere", f"hydra.run.dir={tmp_path}")
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if "data.root is 'nowhere', which is not a folder" in line]
    assert len(lines) == 1, result.stderr
    assert "expected train2017/, val2017/" in lines[0]
    assert "Traceback" not in result.stderr


def test_two_processes_score_an_odd_number_of_images_as_one_does(tmp_path: Path) -> None:
    common = [*TINY, "trainer.max_epochs=1", "callbacks.progress=null", "estimate_steps=1"]
    results = []
    for processes in ("default", "ddp_cpu"):
        output = tmp_path / processes
        result = command("src.train", *common, f"trainer={processes}", f"hydra.run.dir={output}")
        assert result.returncode == 0, result.stderr
        results.append(json.loads((output / "scores.json").read_text())["scores"])
    one, two = results
    for row in ("before training", "k-means on colour"):
        assert two[row] == pytest.approx(one[row])
