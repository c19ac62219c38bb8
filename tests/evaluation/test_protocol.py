"""The ways to score: what each file of conf/protocol/ means, says and refuses."""

from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate

from src.errors import DenseSiamError, plain_errors
from src.evaluation.protocol import EvaluationProtocol
from tests.composing import CONF, composed
from tests.factories import paper
from tests.refusals import refusal

PAPER = {
    "name": "paper",
    "side": 320,
    "crop": True,
    "flip": False,
    "matching": "hungarian",
    "head": "main",
    "release_blocks": False,
    "resamples": 1000,
    "window": 0,
    "stride": 0,
    "groups": "anew",
}
FILES = {
    "paper": PAPER,
    "release": PAPER | {"name": "release", "release_blocks": True},
    "original_size": PAPER | {"name": "original_size", "side": "own", "crop": False},
    "sliding_windows": PAPER | {"name": "sliding_windows", "side": "own", "crop": False, "window": 769, "stride": 513},
    "demo": PAPER | {"name": "demo", "side": 96},
}
VOC = {"name": "voc_detection", "metric": "voc2007", "side": 800, "longest": 1333, "resamples": 1000}
OF_BOXES = {"voc_detection": VOC, "coco_detection": VOC | {"name": "coco_detection", "metric": "coco"}}


def configured(output: Path, *overrides: str) -> EvaluationProtocol:
    with plain_errors():
        return instantiate(composed(output, "experiment=coco_seg", *overrides).protocol)


def test_every_file_is_known_here() -> None:
    assert {path.stem for path in (CONF / "protocol").glob("*.yaml")} == {*FILES, *OF_BOXES, "as_trained"}


@pytest.mark.parametrize("name", [*FILES, *OF_BOXES])
def test_the_files_mean_what_the_tables_need(name: str, tmp_path: Path) -> None:
    assert vars(configured(tmp_path, f"protocol={name}")) == (FILES | OF_BOXES)[name]


def test_the_papers_side_is_that_of_the_views(tmp_path: Path) -> None:
    assert configured(tmp_path, "data.views.size=128").side == 128
    assert configured(tmp_path, "data.views.size=128", "protocol.side=64").side == 64
    assert configured(tmp_path, "protocol.side=own").side == "own"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"side": 0}, ["protocol.side is 0", "expected a whole number", "or own"]),
        ({"side": -32}, ["protocol.side is -32"]),
        ({"side": 32.5}, ["protocol.side is 32.5"]),
        ({"side": "32"}, ["protocol.side is '32'"]),
        ({"side": "original"}, ["protocol.side is 'original'"]),
        ({"side": None}, ["protocol.side is None"]),
        ({"matching": "best"}, ["protocol.matching is 'best'", "choose one of hungarian, majority"]),
        ({"head": "auxiliary"}, ["protocol.head is 'auxiliary'", "choose one of main, aux"]),
        ({"window": -1}, ["protocol.window is -1", "or 0 to predict images as a whole"]),
        ({"window": 64}, ["protocol.stride is 0: expected a whole number from 1 to 64"]),
        ({"window": 64, "stride": 65}, ["protocol.stride is 65"]),
        ({"resamples": -1}, ["protocol.resamples is -1", "expected a whole number from 0"]),
    ],
)
def test_refusals(changes: dict[str, Any], expected: list[str]) -> None:
    refusal(lambda: paper(**changes), *expected)


def test_a_strange_key_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DenseSiamError, match="sides: take it out, or correct its name") as caught:
        configured(tmp_path, "+protocol.sides=3")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, True), ({"side": "own"}, False), ({"crop": False}, False), ({"side": "own", "crop": False}, False)],
)
def test_only_squares_of_one_side_share_a_batch(changes: dict[str, Any], expected: bool) -> None:
    assert paper(**changes).one_size is expected


def test_describe_says_all_that_numbers_depend_on() -> None:
    assert paper(side=320).describe() == {
        "protocol": "paper",
        "preparation": "shorter side to 320, centre square, labels alike (nearest)",
        "prediction": "logits upsampled bilinearly, then argmax",
        "matching": "hungarian",
    }
    assert paper(name="x", side="own", crop=False, flip=True, head="aux", matching="majority").describe() == {
        "protocol": "x",
        "preparation": "own size, no crop, labels at their own size",
        "prediction": "auxiliary head's logits, averaged with the mirror image's, upsampled bilinearly, then argmax",
        "matching": "majority",
    }


def test_what_differs_is_described_differently() -> None:
    changes = [{}, {"side": 64}, {"side": "own"}, {"crop": False}, {"flip": True}, {"matching": "majority"}]
    described = [str(paper(**change).describe()) for change in [*changes, {"head": "aux"}]]
    assert len(set(described)) == 7


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("protocol.resamples=2.5", "expected a whole number"),
        ("protocol.resamples=many", "expected a whole number"),
        ("protocol.crop=maybe", "protocol.crop is 'maybe': expected true or false"),
        ("protocol.flip=1", "protocol.flip is 1"),
        ("protocol.side=true", "protocol.side is True: expected a whole number"),
    ],
)
def test_values_of_another_kind_are_refused(override: str, expected: str, tmp_path: Path) -> None:
    refusal(lambda: configured(tmp_path, override), expected)


def test_a_protocol_replaces_that_of_an_experiment(tmp_path: Path) -> None:
    for experiment in ("demo", "camvid_seg"):
        chosen = composed(tmp_path, f"experiment={experiment}", "protocol=original_size").protocol
        assert (chosen.name, chosen.side, chosen.crop) == ("original_size", "own", False)
