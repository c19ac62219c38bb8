"""Values are checked when they are given, also of what begins late in a run; what comes without data or experiment."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from src.assembly.train import train
from src.errors import plain_errors
from src.training.trainer import check_devices, check_trainer
from tests.composing import TINY, composed
from tests.refusals import refusal

PRETRAINING = ("experiment=demo_pretrain", *TINY[1:])


def refused(folder: Path, *overrides: str, expected: tuple[str, ...]) -> None:
    """A run with these values ends before a step in one line with these parts."""

    def run() -> None:
        with plain_errors():
            train(composed(folder, *overrides))

    refusal(run, *expected)
    assert not (folder / "scores.json").exists()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "task.criterion.region_temperature=0",
            "task.criterion.region_temperature is 0: expected a finite number from 0.0001",
        ),
        ("task.criterion.region_temperature=null", "task.criterion.region_temperature is None"),
        ("task.region_start='0.5'", "task.region_start is '0.5': expected a finite number from 0 below 1, or null"),
        ("task.criterion.stop_gradient={a:1}", "task.criterion.stop_gradient is {'a': 1}: expected true or false"),
        ("optimizer.lr=[]", "optimizer.lr is []"),
        ("task.optimizer=adam", "task.optimizer is 'adam', from which nothing can be made"),
        ("task.loss_weights.dense=[1]", "task.loss_weights.dense is [1]"),
        ("data.views.flip_probability=nan", "data.views.flip_probability is nan: expected a finite number from 0 to 1"),
        ("data.views.size=3", "blurs over 3 pixels to each side, and the views have 3"),
        ("data.views.size=5", "images of 5 x 5 pixels are too small for the encoder"),
        ("protocol.side=3", "images of 3 x 3 pixels are too small for the encoder"),
        ("data.views.size=nan", "data.views.size is nan"),
        ("data.views.colour.jitter_probability=-1", "data.views.colour.jitter_probability is -1"),
        ("data.views.colour.blur_sigma=[0.1,30]", "blurs over 90 pixels to each side, and the views have 32"),
        (
            "data.views=two_crops",
            "data.views is 'two_crops', from which nothing can be made: choose it with data/views=",
        ),
        ("data.seed=-1", "data.seed is -1: expected a whole number from 0 to 4294967295"),
        ("data.seed=[]", "data.seed is []"),
        ("data.num_workers=-1", "data.num_workers is -1"),
        ("data.num_workers=1000000", "data.num_workers is 1000000"),
        ("data.batch_size=true", "data.batch_size is True"),
        ("data.train_scenes=1000000000", "data.train_scenes is 1000000000"),
        ("seed=abc", "seed is 'abc': expected a whole number"),
        ("ckpt_path=inf", "ckpt_path is inf: expected a text"),
        ("weights=3", "weights is 3: expected a text, or null for none; as a text it is 'weights=\"3\"'"),
        ("score_before=1", "score_before is 1: expected true or false"),
        ("fit_images=0", "fit_images is 0: expected a whole number from 1"),
        ("model.neck.channels=1e-30", "model.neck.channels is 1e-30: expected a whole number"),
        ("model.neck=fpn", "model.neck is 'fpn', from which nothing can be made: choose it with model/neck=fpn"),
        ("model.num_categories=1000000000", "model.num_categories is 1000000000"),
        ("model.encoder.output_stride=8.0", "model.encoder.output_stride is 8.0"),
        ("callbacks.collapse.min_images=inf", "callbacks.collapse.min_images is inf: expected a whole number"),
        ("callbacks.pictures.num_images=-1", "callbacks.pictures.num_images is -1"),
        ("trainer.max_epochs=ten", "trainer.max_epochs is 'ten': expected a whole number from 1"),
        ("trainer.max_epochs=-1", "the run would have no end"),
        ("trainer.log_every_n_steps=[1,2]", "trainer.log_every_n_steps is [1, 2]"),
        ("trainer.check_val_every_n_epoch=-1", "trainer.check_val_every_n_epoch is -1"),
        ("trainer.precision=x", "trainer can't be made from its values: Precision 'x' is invalid"),
        ("+trainer.strange=1", "strange: take it out, or correct its name"),
        ("+model.neck.strange=1", "strange: take it out, or correct its name"),
        ("logger.csv.name=[a]", "logger.csv.name is ['a']: expected a text, or null"),
        ("paths.output=", "paths.output is empty, as a shell variable that is not set leaves it"),
    ],
)
def test_values_are_checked_before_anything_is_trained(override: str, expected: str, tmp_path: Path) -> None:
    refused(tmp_path, *TINY, override, expected=(expected,))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optimizer.momentum='5'", "optimizer.momentum is '5': expected a finite number from 0 below 1"),
        ("optimizer.base_lr=[]", "optimizer.base_lr is []"),
        ("task.linear_probe.l2=[]", "linear_probe.l2 is []: expected a list of numbers from 0"),
        ("task.linear_probe.l2=[inf]", "linear_probe.l2 is inf"),
        ("+task.linear_probe.strange=1", "there is no value task.linear_probe.strange"),
        ("task.schedule=1", "task.schedule is 1: choose one of cosine, constant"),
        ("data.views.ratio=[1,inf]", "data.views.ratio is [1, inf]"),
        ("model.image_channels=0", "model.image_channels is 0"),
    ],
)
def test_values_of_pretraining_are_checked_too(override: str, expected: str, tmp_path: Path) -> None:
    refused(tmp_path, *PRETRAINING, override, expected=(expected,))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("task.clustering.share=nan", "task.clustering.share is nan"),
        ("task.clustering.backend=cuml", "task.clustering.backend is 'cuml': choose one of torch, sklearn, faiss"),
        ("+task.clustering.strange=1", "there is no value task.clustering.strange"),
        ("task.optimizer.lr=fast", "optimizer.lr is 'fast'"),
    ],
)
def test_values_of_other_methods_are_checked_too(override: str, expected: str, tmp_path: Path) -> None:
    refused(tmp_path, *TINY, "task=picie", override, expected=(expected,))


@pytest.mark.parametrize("key", ["data.root", "data.images", "data.list", "ckpt_path", "weights"])
def test_an_empty_path_is_refused(key: str, labelled_root: Path, tmp_path: Path) -> None:
    given = ["data=folder", f"data.root={labelled_root}", f"{key}="]
    refused(tmp_path, *TINY[:2], *given, expected=(key,))


def test_numbers_are_no_names(labelled_root: Path, tmp_path: Path) -> None:
    given = [*TINY[:2], "data=labelled_folder", f"data.root={labelled_root}"]
    refused(tmp_path, *given, "data.val_split=2017", expected=("as a text it is 'data.val_split=\"2017\"'",))
    refused(tmp_path, *given, "data.train_splits=train", expected=("expected a list, 'data.train_splits=[train]'",))
    refused(tmp_path, *given, "data.train_splits=[1]", expected=("data.train_splits is 1: expected a text",))


def test_a_run_without_data_or_experiment_says_what_there_is(tmp_path: Path) -> None:
    refused(tmp_path, expected=("nothing to train on", "experiment=demo", "data=labelled_folder data.root=DIR"))


def test_data_alone_are_trained_on_with_the_papers_values(tmp_path: Path) -> None:
    config = composed(tmp_path, "data=labelled_folder", "data.root=DIR")
    resolved = OmegaConf.to_container(config, resolve=True)
    assert isinstance(resolved, dict)
    encoder = resolved["model"]["encoder"]
    assert (encoder["name"], encoder["weights"], encoder["stages"]) == ("resnet18", "IMAGENET1K_V1", 4)
    assert (resolved["model"]["num_categories"], resolved["model"]["num_aux_categories"]) == (27, 128)
    assert (resolved["data"]["batch_size"], resolved["data"]["views"]["size"]) == (256, 320)
    assert (resolved["protocol"]["name"], resolved["protocol"]["side"]) == ("paper", 320)
    assert (resolved["task"]["optimizer"]["base_lr"], resolved["trainer"]["max_epochs"]) == (0.05, 10)
    ours, paper = (composed(tmp_path, given) for given in ("data=coco_stuff27", "experiment=coco_seg"))
    assert ours == paper


def test_more_categories_than_classes_are_told_of(
    labelled_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [
        "debug=tiny",
        "data=labelled_folder",
        f"data.root={labelled_root}",
        "references=none",
        "score_before=false",
    ]
    train(composed(tmp_path / "one", *small))
    assert "27 pseudo-categories for 3 classes: 24 match none" in capsys.readouterr().out
    train(composed(tmp_path / "other", *small, "protocol.matching=majority"))
    assert "pseudo-categories for" not in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_gpus_where_there_are_none_are_one_line(tmp_path: Path) -> None:
    refused(tmp_path, *TINY, "trainer.accelerator=gpu", expected=("trainer.accelerator is gpu", "trainer=ddp_cpu"))
    refused(tmp_path, "experiment=demo", "trainer=ddp", expected=("torch finds no GPU", "trainer=ddp_cpu"))
    refusal(lambda: check_devices("cpu", 10**6), "trainer.devices is 1000000")


@pytest.mark.parametrize("devices", [0, 1.5, True, None])
def test_devices_are_counted(devices: object) -> None:
    refusal(lambda: check_devices("cpu", devices), f"trainer.devices is {devices}")


def test_the_data_deals_itself_out() -> None:
    refusal(lambda: check_trainer({"max_epochs": 1, "use_distributed_sampler": True}), "use_distributed_sampler")
    check_trainer({"max_steps": 3, "use_distributed_sampler": False, "devices": "auto", "max_epochs": None})


def test_make_demo_names_its_experiment() -> None:
    text = (Path(__file__).parents[1] / "Makefile").read_text(encoding="utf-8")
    assert "-m src.train experiment=demo $(ARGS)" in text
