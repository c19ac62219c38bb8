"""Going on with a run: from which file, and under which values."""

from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from src.overrides import flat
from src.training.continuation import Start, begin_of_regions, go_on, start_at
from tests.composing import composed
from tests.refusals import refusal


@cache
def groups(*overrides: str) -> DictConfig:
    experiment = () if any(each.startswith("experiment") for each in overrides) else ("experiment=demo",)
    config = composed(Path("run"), *experiment, *overrides)
    OmegaConf.set_struct(config, value=False)
    return config


def plain(*overrides: str) -> dict[str, Any]:
    """The config of a command line, without the time that composing it takes for each value."""
    values = [
        each for each in overrides if "." in each.partition("=")[0] or each.startswith(("seed", "ckpt", "weights"))
    ]
    config = OmegaConf.merge(
        groups(*(each for each in overrides if each not in values)), OmegaConf.from_dotlist(values)
    )
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def start(*overrides: str, epoch: int = 9) -> Start:
    """A checkpoint of a run under these overrides, written in or after an epoch counted from 0."""
    return Start(Path("run/last.ckpt"), 70, epoch + 1, plain(*overrides), [], {})


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optimizer.lr=0.01", "optimizer.lr=0.01 (was 0.001)"),
        ("optimizer.weight_decay=0.1", "optimizer.weight_decay=0.1 (was 0)"),
        ("optimizer=sgd", "optimizer._target_=src.optim.sgd (was src.optim.adam)"),
        ("data.batch_size=16", "found data.batch_size=16 (was 32); expected"),
        ("seed=1", "seed=1 (was 0)"),
        ("data.views.size=48", "data.views.size=48 (was 64)"),
        ("data.train_scenes=100", "data.train_scenes=100 (was 500)"),
        ("model.num_categories=9", "found model.num_categories=9 (was 8); expected"),
        ("model.encoder.frozen=true", "model.encoder.frozen=True (was False)"),
        ("task.loss_weights.region=0", "task.loss_weights.region=0 (was 0.1)"),
        ("task.criterion.stop_gradient=false", "task.criterion.stop_gradient=False (was True)"),
        ("trainer.accumulate_grad_batches=2", "trainer.accumulate_grad_batches=2 (was 1)"),
        ("trainer.gradient_clip_val=1.0", "trainer.gradient_clip_val=1.0 (was not set)"),
        ("task=picie", " more; expected the values that it has"),
    ],
)
def test_other_values_for_what_is_trained_are_refused(override: str, said: str) -> None:
    before = start("experiment=demo", epoch=2)
    message = refusal(
        lambda: go_on(before, plain("experiment=demo", override)), "run/last.ckpt was trained otherwise", said
    )
    assert message.endswith("for a new run from its weights set weights=run/last.ckpt in place of ckpt_path")
    refusal(lambda: go_on(start("experiment=demo", override, epoch=2), plain("experiment=demo")), "trained otherwise")


def test_a_methods_own_value_for_its_network_is_refused() -> None:
    changed = plain("experiment=demo", "task=picie", "task.network.grid_size=3")
    found = "found task.network.grid_size=3 (was None); expected"
    refusal(lambda: go_on(start("experiment=demo", "task=picie"), changed), found)


def test_the_rates_of_a_cosine_are_refused() -> None:
    before = start("experiment=demo_pretrain", epoch=2)
    for override in ("optimizer.base_lr=0.01", "task.schedule=constant", "task.constant_predictor_lr=true"):
        refusal(lambda o=override: go_on(before, plain("experiment=demo_pretrain", o)), override.partition("=")[0])


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["data.num_workers=7", "data.on_corrupt=skip", "data.augment_on=device"],
        ["logger=wandb", "callbacks.pictures.num_images=1", "callbacks.progress=null", "estimate_steps=0"],
        [
            "callbacks=best_by_labelled_miou",
            "callbacks.checkpoint.every_n_steps=5",
            "score_before=false",
            "references=none",
        ],
        ["trainer=ddp_cpu", "trainer.precision=bf16-mixed", "model.memory_format=contiguous", "compile=true"],
        ["protocol=release", "trainer.check_val_every_n_epoch=5"],
        ["paths.output=elsewhere", "ckpt_path=run/last.ckpt"],
    ],
)
def test_what_can_change_on_the_way(overrides: list[str]) -> None:
    go_on(start(), plain(*overrides))


@pytest.mark.parametrize("experiment", ["demo", "demo_pretrain", "coco_picie"])
def test_the_same_command_goes_on(experiment: str) -> None:
    resumed = go_on(start(f"experiment={experiment}"), plain(f"experiment={experiment}", "ckpt_path=run/last.ckpt"))
    assert resumed == {"resumed": [{"step": 70, "changed": {}}]}


def test_what_changes_is_said_and_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    first = start("data=folder", "data.root=/a", "task.region_start=null")
    record = go_on(first, plain("data=folder", "data.root=/b", "task.region_start=null", "trainer.max_epochs=30"))
    changed = {"data.root": ["/a", "/b"], "trainer.max_epochs": [20, 30]}
    assert record == {"resumed": [{"step": 70, "changed": changed}]}
    said = "Going on from run/last.ckpt after step 70, data.root=/b (was /a), trainer.max_epochs=30 (was 20)\n"
    assert capsys.readouterr().out == said
    again = go_on(first._replace(step=80, resumed=record["resumed"]), first.config)
    assert again["resumed"] == [*record["resumed"], {"step": 80, "changed": {}}]


def test_a_checkpoint_of_a_run_from_weights_goes_on_without_them() -> None:
    assert go_on(start("weights=a.pth"), plain())["resumed"][0]["changed"] == {"weights": ["a.pth", None]}


def test_a_longer_run_under_the_cosine_is_refused() -> None:
    before = start("experiment=demo_pretrain", "trainer.max_epochs=10", "task.region_start=0", epoch=4)
    longer = ["experiment=demo_pretrain", "trainer.max_epochs=20", "task.region_start=0"]
    refusal(lambda: go_on(before, plain(*longer)), "trainer.max_epochs=20 (was 10), which the cosine")
    steps = [*longer[:1], "trainer.max_epochs=10", "task.region_start=0", "trainer.max_steps=9"]
    refusal(lambda: go_on(before, plain(*steps)), "trainer.max_steps=9 (was -1), which the cosine")
    constant = start(*longer, "trainer.max_epochs=10", "task.schedule=constant", epoch=4)
    go_on(constant, plain(*longer, "task.schedule=constant"))


@pytest.mark.parametrize(
    ("before", "after", "epoch", "said"),
    [
        ((10, 0.8), (20, 0.8), 6, ""),  # RegionSim has not begun, and will later
        ((10, 0.8), (20, 0.8), 7, ""),
        (
            (10, 0.8),
            (20, 0.8),
            8,
            "RegionSim from epoch 16 of 20 on (the checkpoint's run: from 8 on; task.region_start=0.425 keeps that)",
        ),
        ((10, 0.8), (20, 0.425), 9, ""),
        ((10, 0.8), (20, 0.4), 9, ""),
        (
            (10, 0.8),
            (20, 0.2),
            5,
            "RegionSim from epoch 4 of 20 on (the checkpoint's run: from 8 on; task.region_start=0.425 keeps that)",
        ),
        ((10, "null"), (20, 0.2), 3, ""),
        (
            (10, "null"),
            (20, 0.2),
            4,
            "RegionSim from epoch 4 of 20 on (the checkpoint's run: never; task.region_start=null keeps that)",
        ),
        ((10, 0), (20, 0), 9, ""),
        (
            (3, 0.34),
            (2, 0.34),
            1,
            "RegionSim from epoch 0 of 2 on (the checkpoint's run: from 1 on; task.region_start=0.75 keeps that)",
        ),
    ],
)
def test_the_epochs_of_regionsim_stay(before: tuple[Any, Any], after: tuple[Any, Any], epoch: int, said: str) -> None:
    first, second = (
        [f"trainer.max_epochs={epochs}", f"task.region_start={share}"] for epochs, share in (before, after)
    )
    if said:
        refusal(lambda: go_on(start(*first, epoch=epoch), plain(*second)), said)
    else:
        go_on(start(*first, epoch=epoch), plain(*second))


@pytest.mark.parametrize("value", ["x", "nan", "inf", "[1]", "null"])
def test_what_the_task_will_refuse_is_left_to_it(value: str) -> None:
    assert begin_of_regions(flat(plain(f"task.region_start={value}"))) == float("inf")
    assert begin_of_regions(flat(plain(f"trainer.max_epochs={value}"))) == float("inf")


def saved(path: Path, step: int) -> Path:
    torch.save({"config": plain(), "state_dict": {"a": torch.ones(99)}, "global_step": step, "epoch": 0}, path)
    return path


def test_a_damaged_last_is_replaced_by_the_one_before(tmp_path: Path) -> None:
    last, previous = saved(tmp_path / "last.ckpt", 6), saved(tmp_path / "previous.ckpt", 4)
    assert start_at(str(last))[:3] == (last, 6, 1)
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=r"can't read .*last\.ckpt .*going on from .*previous\.ckpt instead.* step 4"):
        assert start_at(str(last))[:2] == (previous, 4)
    last.unlink()
    with pytest.warns(UserWarning, match=r"no file .*last\.ckpt.*going on from .*previous\.ckpt instead.* step 4"):
        assert start_at(str(last))[:2] == (previous, 4)
    previous.write_bytes(b"also damaged")
    refusal(lambda: start_at(str(last)), f"can't read {previous}")
    previous.unlink()
    refusal(lambda: start_at(str(last)), f"there is no file {last}")


def test_only_a_damaged_one_is_replaced(tmp_path: Path) -> None:
    """Not one that holds something else, nor another file than `last.ckpt`."""
    saved(tmp_path / "previous.ckpt", 4)
    torch.save({"state_dict": {}}, tmp_path / "last.ckpt")
    refusal(lambda: start_at(str(tmp_path / "last.ckpt")), "does not hold config")
    refusal(lambda: start_at(str(tmp_path / "best.ckpt")), "there is no file")


def test_a_checkpoint_without_a_step_is_refused(tmp_path: Path) -> None:
    torch.save({"config": plain(), "state_dict": {}, "epoch": 0}, tmp_path / "last.ckpt")
    refusal(lambda: start_at(str(tmp_path / "last.ckpt")), "global_step None and epoch 0", "weights=")


def test_how_often_it_was_resumed_is_read(tmp_path: Path) -> None:
    resumed = [{"step": 3, "changed": {}}]
    kept = {"config": plain(), "state_dict": {}, "epoch": 0, "global_step": 4, "origin": {"resumed": resumed}}
    torch.save(kept, tmp_path / "last.ckpt")
    assert start_at(str(tmp_path / "last.ckpt")).resumed == resumed


@pytest.mark.parametrize(("key", "value"), [("callbacks", [1]), ("optimizer_states", "x"), ("loops", 3)])
def test_parts_of_another_kind_are_refused(key: str, value: Any, tmp_path: Path) -> None:
    saved = {"state_dict": {}, "config": {}, "global_step": 3, "epoch": 0, key: value}
    torch.save(saved, tmp_path / "last.ckpt")
    refusal(lambda: start_at(str(tmp_path / "last.ckpt")), f"{key} in ", f"is {type(value).__name__}", "weights=")
