"""Reports: strict JSON with everything behind the numbers, and a table that leaves nothing out."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from src.evaluation.bootstrap import Interval
from src.evaluation.scoring import Scored
from src.results.scores import (
    KINDS,
    describe,
    environment,
    print_difference,
    print_scores,
    score_columns,
    write_scores,
)

ROWS = {
    "before training": Scored({"mIoU": 12.34, "mIoU_stuff": 20.06, "mIoU_thing": float("nan"), "accuracy": 31.0}, {}),
    "after training": Scored({"mIoU": 45.67, "accuracy": 99.96, "IoU/sky": float("inf")}, {}),
}
ORIGIN = {"config": "0" * 64, "weights": {"path": "a.pth", "sha256": "1" * 64}, "checkpoint": None}
PROTOCOL = {"images": 33, "preparation": "shorter side to 128, centre crop 128", "matching": "hungarian"}


def refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is not JSON")


def written(folder: Path) -> dict[str, Any]:
    path = folder / "scores.json"
    cost, config = {"steps": 7, "train_seconds": 1.5}, {"seed": 3, "data": {"root": None}}
    write_scores(path, ROWS, PROTOCOL, cost, config, ORIGIN)
    text = path.read_text(encoding="utf-8")
    assert text.endswith("}\n")
    return json.loads(text, parse_constant=refuse)


def test_scores_json_is_complete(tmp_path: Path) -> None:
    document = written(tmp_path)
    assert set(document) == {"scores", "intervals", "protocol", "cost", "environment", "config", "origin"}
    assert document["protocol"] == PROTOCOL
    assert document["cost"] == {"steps": 7, "train_seconds": 1.5}
    assert document["config"] == {"seed": 3, "data": {"root": None}}
    assert document["origin"] == ORIGIN
    assert document["environment"] == environment()


def test_undefined_scores_are_null_and_the_others_exact(tmp_path: Path) -> None:
    scores = written(tmp_path)["scores"]
    assert list(scores) == ["before training", "after training"]
    assert scores["before training"] == {"mIoU": 12.34, "mIoU_stuff": 20.06, "mIoU_thing": None, "accuracy": 31.0}
    assert scores["after training"] == {"mIoU": 45.67, "accuracy": 99.96, "IoU/sky": None}


def test_environment_tells_versions_and_hardware() -> None:
    found = environment()
    assert found["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert found["packages"]["pillow"]
    assert found["threads"] == torch.get_num_threads()
    assert found["devices"]
    assert found["python"].startswith("3.")


def test_the_table_has_every_row_and_the_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    print_scores(ROWS, PROTOCOL)
    printed = capsys.readouterr().out
    lines = {label: next(line for line in printed.splitlines() if label in line).split("│") for label in ROWS}
    assert [cell.strip() for cell in lines["before training"][2:-1]] == ["12.3", "20.1", "nan", "31.0"]
    assert [cell.strip() for cell in lines["after training"][2:-1]] == ["45.7", "-", "-", "100.0"]
    header = next(line for line in printed.splitlines() if "mIoU_stuff" in line)
    assert header.index("mIoU") < header.index("mIoU_stuff") < header.index("mIoU_thing") < header.index("accuracy")
    assert describe(PROTOCOL) in " ".join(printed.split())


DETECTED = {"AP": 26.04, "AP50": 50.0, "AP75": 20.0, "COCO_AP": 27.0, "mask_AP": 10.0, "AP/cat": 1.0}


def header_of(printed: str, name: str) -> list[str]:
    return [cell.strip() for cell in next(line for line in printed.splitlines() if name in line).split("┃")[2:-1]]


def test_columns_follow_from_the_scores(capsys: pytest.CaptureFixture[str]) -> None:
    print_scores({"after training": Scored(DETECTED, {"AP": Interval(26.04, 20.0, 30.0)})}, PROTOCOL)
    printed = capsys.readouterr().out
    assert header_of(printed, "AP50") == ["AP", "95 % interval", "AP50", "AP75", "COCO_AP", "mask_AP"]
    row = next(line for line in printed.splitlines() if "after training" in line).split("│")
    assert [cell.strip() for cell in row[2:-1]] == ["26.0", "20.0 to 30.0", "50.0", "20.0", "27.0", "10.0"]
    assert score_columns([{"AP": 1.0}, {"mIoU": 2.0}]) == [*KINDS[0], *KINDS[1]]
    assert score_columns([]) == list(KINDS[0])  # as a run without rows has always been printed


def test_a_difference_without_interval_is_printed_without_one(capsys: pytest.CaptureFixture[str]) -> None:
    nan = float("nan")
    print_difference({"AP": Interval(1.25, 0.5, 2.0), "COCO_AP": Interval(-1.0, nan, nan), "AP/cat": Interval(9, 9, 9)})
    assert capsys.readouterr().out.splitlines() == [
        "AP, checkpoint - baseline: +1.2 (95 % interval +0.5 to +2.0)",
        "COCO_AP, checkpoint - baseline: -1.0",
    ]


def test_the_protocol_is_one_line_of_names_and_values() -> None:
    expected = "images: 33; preparation: shorter side to 128, centre crop 128; matching: hungarian"
    assert describe(PROTOCOL) == expected


@pytest.mark.parametrize("text", ["[colour]", "[/data/x]", "[bold]"])
def test_square_brackets_are_printed_as_they_are(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_scores({f"k-means {text}": Scored({"mIoU": 1.0}, {})}, {"splits": text})
    printed = " ".join(capsys.readouterr().out.split())
    assert f"k-means {text}" in printed
    assert f"splits: {text}" in printed


NEAR = Interval(1.5, -0.25, 3.0)
FAR = Interval(-4.04, -6.06, -2.0)
MEASURED = {
    "checkpoint": Scored({"mIoU": 45.67, "accuracy": 61.0}, {"mIoU": Interval(45.67, 43.21, 48.76)}),
    "baseline": Scored({"mIoU": 44.17, "accuracy": 60.0, "release_block_mIoU_thing": 29.46}, {}),
}


def test_intervals_stand_beside_the_miou(capsys: pytest.CaptureFixture[str]) -> None:
    print_scores(MEASURED, PROTOCOL)
    lines = capsys.readouterr().out.splitlines()
    cells = {
        label: [cell.strip() for cell in next(line for line in lines if label in line).split("│")[2:-1]]
        for label in MEASURED
    }
    assert cells["checkpoint"] == ["45.7", "43.2 to 48.8", "-", "-", "61.0", "-"]
    assert cells["baseline"] == ["44.2", "-", "-", "-", "60.0", "29.5"]
    header = next(line for line in lines if "mIoU_stuff" in line)
    assert header.index("mIoU") < header.index("95 % interval") < header.index("mIoU_stuff")
    assert header.index("accuracy") < header.index("release_block_mIoU_thing")


def test_a_difference_says_whether_the_images_can_tell(capsys: pytest.CaptureFixture[str]) -> None:
    print_difference({"mIoU": NEAR, "accuracy": FAR, "mean_accuracy": FAR})
    assert capsys.readouterr().out.splitlines() == [
        "mIoU, checkpoint - baseline: +1.5 (95 % interval -0.2 to +3.0; not significant on these images)",
        "accuracy, checkpoint - baseline: -4.0 (95 % interval -6.1 to -2.0)",
    ]
    print_difference({})
    assert not capsys.readouterr().out


def test_scores_json_has_the_ends_of_the_intervals(tmp_path: Path) -> None:
    undefined = {"mIoU_thing": Interval(float("nan"), float("nan"), float("nan"))}
    rows = {**MEASURED, "third": Scored({"mIoU_thing": float("nan")}, undefined)}
    write_scores(tmp_path / "scores.json", rows, PROTOCOL, {}, {}, ORIGIN, {"mIoU": NEAR} | undefined)
    document = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert document["intervals"] == {
        "checkpoint": {"mIoU": [43.21, 48.76]},
        "baseline": {},
        "third": {"mIoU_thing": [None, None]},
    }
    assert document["difference"] == {"mIoU": [1.5, -0.25, 3.0], "mIoU_thing": [None, None, None]}


def test_nothing_keeps_scores_from_being_written(tmp_path: Path) -> None:
    """Hours of training must not be lost to a value that JSON has no word for."""
    config = {"p": float("nan"), "lists": [float("-inf"), (1, Path("a"))], "strange": {1: b"x", "t": torch.tensor(2)}}
    cost = {"steps": 7, "train_seconds": float("inf"), "peak_memory": None}
    write_scores(tmp_path / "scores.json", ROWS, PROTOCOL, cost, config, {"made": float("nan")})
    document = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert document["config"] == {"p": "nan", "lists": ["-inf", [1, "a"]], "strange": {"1": "b'x'", "t": "tensor(2)"}}
    assert document["cost"] == {"steps": 7, "train_seconds": None, "peak_memory": None}
    assert document["scores"]["before training"]["mIoU"] == 12.34
