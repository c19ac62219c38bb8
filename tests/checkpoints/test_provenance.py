"""What a run was made from: hashes by hand, what counts and what doesn't, and the record that a checkpoint carries."""

import hashlib
import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from omegaconf import OmegaConf

from src.checkpoints.provenance import config_hash, file_hash, file_record, origin
from src.training.config_in_checkpoint import ConfigInCheckpoint
from tests.composing import EXPERIMENTS, composed
from tests.refusals import refusal

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of FIPS 180-4's own example


def plain(output: Path, *overrides: str) -> dict[str, Any]:
    given = ["data=scenes", "model/encoder=resnet18", *overrides]
    config = OmegaConf.to_container(composed(output, *given), resolve=True)
    assert isinstance(config, dict)
    return config


def test_a_files_hash_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_hash(tmp_path / "abc") == ABC
    assert file_record(str(tmp_path / "abc")) == {"path": str(tmp_path / "abc"), "sha256": ABC}
    large = bytes(range(256)) * 20_000  # longer than one read
    (tmp_path / "large").write_bytes(large)
    assert file_hash(tmp_path / "large") == hashlib.sha256(large).hexdigest()


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    refusal(lambda: file_hash(tmp_path / "absent"), tmp_path / "absent", "No such file")
    refusal(lambda: file_hash(tmp_path), tmp_path, "Is a directory")


def test_the_configs_hash_is_that_of_its_canonical_json() -> None:
    written = b'{"data":{"root":null},"list":[0.1,{"a":true}],"seed":3}'
    config = {"seed": 3, "list": [0.1, {"a": True}], "data": {"root": None, "num_workers": 8}, "paths": {"output": "x"}}
    assert config_hash(config) == hashlib.sha256(written).hexdigest()
    assert config["paths"] == {"output": "x"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_where_it_is_written_does_not_count(name: str, tmp_path: Path) -> None:
    first, second = (plain(tmp_path / folder, f"experiment={name}") for folder in ("one", "two"))
    assert first != second
    assert config_hash(first) == config_hash(second)


@pytest.mark.parametrize(
    "overrides",
    [
        ["logger=tensorboard"],
        ["callbacks=best_by_labelled_miou"],
        ["callbacks.progress=null", "callbacks.label_free=null", "callbacks.pictures.num_images=1"],
        ["data.num_workers=7"],
        ["estimate_steps=9", "trainer.log_every_n_steps=3"],
        ["ckpt_path=last.ckpt"],
        ["score_before=false"],
    ],
    ids=" ".join,
)
def test_what_changes_no_result_does_not_count(overrides: list[str], tmp_path: Path) -> None:
    assert config_hash(plain(tmp_path, *overrides)) == config_hash(plain(tmp_path))


def test_everything_else_counts(tmp_path: Path) -> None:
    changes = ["seed=1", "weights=a.pth", "model.encoder.weights=a.pth", "model.encoder.stages=3", "data.batch_size=8"]
    changes += ["+callbacks.stop._target_=lightning.pytorch.callbacks.EarlyStopping", "task.region_start=null"]
    changes += ["compile=true", "data.augment_on=device", "model.memory_format=contiguous"]  # they change rounding
    changes += ["trainer.max_epochs=3", "trainer.precision=bf16-mixed", "protocol.flip=true"]
    changes += ["experiment=camvid_seg", "data=folder", "data=labelled_folder"]
    hashes = {change: config_hash(plain(tmp_path, change)) for change in changes}
    hashes["data.root"] = config_hash(plain(tmp_path, "data=folder", "data.root=elsewhere"))
    hashes["nothing"] = config_hash(plain(tmp_path))
    assert len(set(hashes.values())) == len(hashes)


def test_a_run_from_nothing_has_no_files(tmp_path: Path) -> None:
    config = plain(tmp_path)
    expected = {"config": config_hash(config), "weights": None, "encoder_weights": None, "checkpoint": None}
    assert origin(config) == expected


def test_the_files_that_a_run_starts_from_are_told_by_contents(tmp_path: Path) -> None:
    file = tmp_path / "abc.pth"
    file.write_bytes(b"abc")
    record = {"path": str(file), "sha256": ABC}
    started = origin(plain(tmp_path, f"weights={file}", f"model.encoder.weights={file}"))
    assert (started["weights"], started["encoder_weights"], started["checkpoint"]) == (record, record, None)
    resumed = origin(plain(tmp_path, f"ckpt_path={file}", "model.encoder.weights=IMAGENET1K_V1"))
    assert (resumed["weights"], resumed["checkpoint"]) == (None, record)
    assert resumed["encoder_weights"] == {"name": "IMAGENET1K_V1"}


def test_a_checkpoint_carries_config_and_origin() -> None:
    checkpoint: dict[str, Any] = {"state_dict": {}}
    ConfigInCheckpoint({"seed": 3}, {"config": ABC}).on_save_checkpoint(Mock(loggers=[]), Mock(), checkpoint)
    added = {"config": {"seed": 3}, "origin": {"config": ABC}, "wandb_id": None}
    assert checkpoint == {"state_dict": {}} | added


def written(path: Path, origin_: Any = None) -> dict[str, Any]:
    """A file of weights, as a checkpoint of ours with this origin or without any; returns its record."""
    torch.save({"state_dict": {}, **({} if origin_ is None else {"origin": origin_})}, path)
    return file_record(path)


BEFORE = {"config": ABC, "weights": None, "encoder_weights": {"name": "IMAGENET1K_V1"}, "checkpoint": None}


def test_a_checkpoint_says_which_run_wrote_it(tmp_path: Path) -> None:
    record = written(tmp_path / "last.ckpt", BEFORE)
    started = origin(plain(tmp_path, f"model.encoder.weights={tmp_path / 'last.ckpt'}"))
    assert started["encoder_weights"] == {**record, "origin": BEFORE}
    assert origin(plain(tmp_path, f"weights={tmp_path / 'last.ckpt'}"))["weights"] == {**record, "origin": BEFORE}


@pytest.mark.parametrize(("step", "told"), [(17, {"step": 17}), (True, {}), ("17", {}), (None, {})])
def test_the_step_of_the_weights_is_told_where_it_is_a_number(step: Any, told: dict[str, int], tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {}, "origin": BEFORE, "global_step": step}, path)
    expected = {**file_record(path), "origin": BEFORE, **told}
    assert origin(plain(tmp_path, f"weights={path}"))["weights"] == expected
    record = written(tmp_path / "encoder.pth")
    about = {"sha256": record["sha256"], "origin": BEFORE, "step": step}
    (tmp_path / "encoder.pth.json").write_text(json.dumps(about))
    started = origin(plain(tmp_path, f"model.encoder.weights={tmp_path / 'encoder.pth'}"))
    assert started["encoder_weights"] == {**record, "origin": BEFORE, **told}


def test_the_record_beside_an_exported_file_says_which_run_wrote_it(tmp_path: Path) -> None:
    for name in ("encoder.pth", "encoder.safetensors"):
        record = written(tmp_path / name)
        about = {"sha256": record["sha256"], "origin": BEFORE}
        (tmp_path / f"{name}.json").write_text(json.dumps(about))
        started = origin(plain(tmp_path, f"model.encoder.weights={tmp_path / name}"))
        assert started["encoder_weights"] == {**record, "origin": BEFORE}
        (tmp_path / f"{name}.json").write_text(json.dumps({**about, "sha256": ABC}))  # of another file
        assert origin(plain(tmp_path, f"model.encoder.weights={tmp_path / name}"))["encoder_weights"] == record


@pytest.mark.parametrize("strange", [{"config": 3}, {"config": "${seed}"}, [1], "text", {"config": torch.zeros(2)}])
def test_a_strange_origin_is_left_out(strange: Any, tmp_path: Path) -> None:
    record = written(tmp_path / "last.ckpt", strange)
    assert origin(plain(tmp_path, f"model.encoder.weights={tmp_path / 'last.ckpt'}"))["encoder_weights"] == record
    for text in ('{"origin":', "[1]", "[" * 100_000, '{"sha256": "x", "origin": 1}'):
        (tmp_path / "last.ckpt.json").write_text(text)
        assert origin(plain(tmp_path, f"model.encoder.weights={tmp_path / 'last.ckpt'}"))["encoder_weights"] == record
