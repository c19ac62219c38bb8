"""Scoring checkpoints: under the protocol they were trained with or another, elsewhere, and against each other."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.assembly.evaluate import evaluate
from src.assembly.train import train
from src.checkpoints.provenance import file_hash
from tests.composing import composed
from tests.refusals import refusal

TINY = [
    "experiment=demo",
    "debug=tiny",
    "trainer.fast_dev_run=false",
    "trainer.max_epochs=1",
    "estimate_steps=0",
    "references=none",
]
TINY += ["data.train_scenes=8", "data.val_scenes=5", "data.scene_size=32"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two tiny runs that differ by their seed."""
    outputs = [tmp_path_factory.mktemp("run") for _ in range(2)]
    for seed, output in enumerate(outputs):
        train(composed(output, *TINY, f"seed={seed}"))
    return [output / "checkpoints" / "last.ckpt" for output in outputs]


def evaluated(output: Path, checkpoint: Path, *overrides: str) -> dict[str, dict[str, object]]:
    evaluate(composed(output, f"ckpt_path={checkpoint}", *overrides, name="evaluate"))
    document: dict[str, dict[str, object]] = json.loads((output / "scores.json").read_text())
    return document


def test_as_trained_unless_asked_otherwise(checkpoints: list[Path], tmp_path: Path) -> None:
    trained = json.loads((checkpoints[0].parents[1] / "scores.json").read_text())
    found = evaluated(tmp_path, checkpoints[0])
    assert found["scores"]["checkpoint"] == trained["scores"]["after training"]
    assert found["intervals"]["checkpoint"] == trained["intervals"]["after training"]
    assert found["protocol"] == trained["protocol"]
    assert found["origin"]["checkpoint"]["sha256"] == file_hash(checkpoints[0])
    assert found["origin"]["checkpoint"]["origin"] == trained["origin"]
    low, high = found["intervals"]["checkpoint"]["mIoU"]
    assert low < high
    assert "difference" not in found


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["protocol=original_size"],
            {"protocol": "original_size", "preparation": "own size, no crop, labels at their"},
        ),
        (["protocol=original_size", "protocol.side=16"], {"preparation": "shorter side to 16, no crop"}),
        (["protocol.side=16"], {"protocol": "demo", "preparation": "shorter side to 16, centre square"}),
        (["protocol=paper"], {"preparation": "shorter side to 32, centre square"}),  # of the views trained on
        (["protocol.flip=true"], {"prediction": "averaged with the mirror image's"}),
        (["protocol.head=aux", "protocol.matching=majority"], {"prediction": "auxiliary head", "matching": "majority"}),
    ],
    ids=" ".join,
)
def test_protocols(overrides: list[str], expected: dict[str, str], checkpoints: list[Path], tmp_path: Path) -> None:
    plain = evaluated(tmp_path / "plain", checkpoints[0], "protocol.resamples=0")
    found = evaluated(tmp_path / "asked", checkpoints[0], "protocol.resamples=0", *overrides)
    for name, part in expected.items():
        assert part in str(found["protocol"][name])
    assert found["scores"] != plain["scores"]
    assert found["intervals"] == {"checkpoint": {}, "checkpoint, merged": {}}


def test_the_release_prints_its_numbers(
    checkpoints: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(tmp_path, checkpoints[0], "protocol=release")
    assert "release_block_mIoU_thing" in found["scores"]["checkpoint"]
    printed = capsys.readouterr().out
    for column in ("release_block_mIoU_stuff", "release_block_mIoU_thing", "95 % interval", "accuracy"):
        assert column in printed


def test_two_checkpoints_are_compared_on_the_same_images(
    checkpoints: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(tmp_path, checkpoints[0], f"baseline_path={checkpoints[1]}")
    alone = evaluated(tmp_path / "alone", checkpoints[1])
    assert found["scores"]["baseline"] == alone["scores"]["checkpoint"]
    value, low, high = found["difference"]["mIoU"]
    first, second = (found["scores"][row]["mIoU"] for row in ("checkpoint", "baseline"))
    assert value == pytest.approx(first - second)
    assert low < high
    assert "mIoU, checkpoint - baseline: " in capsys.readouterr().out
    names = {path.name.partition("_")[0] for path in (tmp_path / "pictures").iterdir()}
    assert names == {"checkpoint", "baseline"}


def test_another_data_set(checkpoints: list[Path], labelled_root: Path, tmp_path: Path) -> None:
    found = evaluated(tmp_path, checkpoints[0], "data=labelled_folder", f"data.root={labelled_root}")
    assert found["protocol"]["images"] == 3
    assert str(labelled_root) in str(found["protocol"]["data"])


def test_data_without_labels_is_refused(checkpoints: list[Path], labelled_root: Path, tmp_path: Path) -> None:
    arguments = ["data=folder", f"data.root={labelled_root}"]
    refusal(lambda: evaluated(tmp_path, checkpoints[0], *arguments), "no labels", "data=labelled_folder")


def test_classes_that_never_occur_stand_beside_the_score(
    checkpoints: list[Path], labelled_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mask of 0 and 255 leaves one class to score, which anything can get right."""
    for path in (labelled_root / "labels" / "val").iterdir():
        values = np.asarray(Image.open(path))
        Image.fromarray(np.where(values == 0, 0, 255).astype(np.uint8)).save(path)
    with pytest.warns(UserWarning, match=r"2 of 3 classes never occur in the 3 label maps .*: ground, object; 255"):
        found = evaluated(tmp_path, checkpoints[0], "data=labelled_folder", f"data.root={labelled_root}")
    assert found["protocol"]["absent classes"] == "ground, object"
    assert "absent classes: ground, object" in capsys.readouterr().out
