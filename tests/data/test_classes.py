"""`classes.json`: what is refused, in one line, and that every class of every data set keeps a score of its own."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from src.data import cityscapes, coco_stuff, potsdam, scenes
from src.data.classes import read_classes
from src.metrics import Category, named_iou
from tests.refusals import refusal

SKY, CAT = {"id": 0, "name": "sky", "kind": "stuff"}, {"id": 1, "name": "cat", "kind": "thing"}
EXPECTED = ('expected a list of {"id": 0', "ids from 0 without a gap")


def written(folder: Path, content: Any) -> Path:
    path = folder / "classes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ([], "[]"),
        (None, "None"),
        ("sky", "'sky'"),
        ({}, "{}"),
        ({"id": 1, "kind": "stuff"}, "not a class"),
        *(({**CAT, "name": name}, "name") for name in (["cat"], 7, None, {}, "", " ", " cat", "a\nb", "a\tb", "a\0b")),
        *(({**CAT, "kind": kind}, "kind") for kind in (["stuff"], {}, None, "", "Stuff", 1)),
        *(({**CAT, "id": number}, "id") for number in ("1", [1], None, 1.5, True, {})),
        *(({**CAT, "id": number}, "ids [") for number in (0, 2, -1, 10**30)),
        ({**CAT, "name": "sky"}, "several classes called 'sky'"),
    ],
)
def test_an_entry_that_is_no_class(entry: Any, found: str, tmp_path: Path) -> None:
    path = written(tmp_path, [SKY, entry])
    refusal(lambda: read_classes(path), path, found, *EXPECTED)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000, "[" * 500 + "]" * 500]
)
def test_nested_brackets(content: str, tmp_path: Path) -> None:
    path = written(tmp_path, content)
    assert len(refusal(lambda: read_classes(path), path, *EXPECTED)) < 500


@pytest.mark.parametrize("content", ["", "{}", "[]", "0", "NaN", "[NaN]", '"sky"', "[[]]", "1" * 10_000, "[1e999]"])
def test_other_json(content: str, tmp_path: Path) -> None:
    path = written(tmp_path, content)
    refusal(lambda: read_classes(path), path, *EXPECTED)


def test_a_folder_of_that_name_or_other_bytes(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    refusal(lambda: read_classes(tmp_path / "folder"), "Is a directory", *EXPECTED)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe[")
    refusal(lambda: read_classes(tmp_path / "bytes"), "UnicodeDecodeError", *EXPECTED)


def test_255_classes_at_most(tmp_path: Path) -> None:
    """A label of 255 means that the pixel is not scored: a class of that id would never be seen."""
    entries = [{"id": number, "name": f"class {number}", "kind": "stuff"} for number in range(256)]
    refusal(lambda: read_classes(written(tmp_path, entries)), "256 classes", "at most 255", "not scored")
    classes = read_classes(written(tmp_path, entries[:255]))
    assert len(classes) == 255
    assert classes[254].name == "class 254"


def test_names_in_any_script(tmp_path: Path) -> None:
    names = ["traffic light", "building/house", "Gebäude", "空", "a.b", "-"]
    entries = [{"id": number, "name": name, "kind": "stuff"} for number, name in enumerate(names)]
    assert [category.name for category in read_classes(written(tmp_path, entries))] == names


def test_a_byte_order_mark(tmp_path: Path) -> None:
    assert read_classes(written(tmp_path, "\ufeff" + json.dumps([SKY]))) == (Category("sky", "stuff"),)


@pytest.mark.parametrize(
    "classes",
    [
        *(coco_stuff.scheme(number)[0] for number in (27, 171)),
        *(cityscapes.scheme(number)[0] for number in (19, 27)),
        potsdam.scheme()[0],
        scenes.CLASSES,
    ],
    ids=len,
)
def test_every_class_has_a_score_of_its_own(classes: tuple[Category, ...]) -> None:
    assert len(classes) < 256
    confusion = torch.eye(len(classes), dtype=torch.int64)
    assert len(named_iou(confusion, torch.arange(len(classes)), classes)) == len(classes)
