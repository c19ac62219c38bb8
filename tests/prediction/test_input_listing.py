"""Which files a prediction finds, and how it names their results."""

import os
from pathlib import Path

import pytest

from src.prediction.listing import list_inputs, result_names
from tests.refusals import refusal

REST = ["pipe.jpg", "sub/c.webp"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    names = ("b.JPG", "a b ü.png", "sub/c.webp", "sub/.d.png", ".hidden/e.png", "sub/notes.txt", "out/clusters/f.png")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "lost.png").symlink_to("nowhere")
    return tmp_path


def test_a_folder(tree: Path) -> None:
    found = list_inputs(str(tree), tree / "out")
    assert found.root == tree
    assert found.names == ["a b ü.png", "b.JPG", "lost.png", "pipe.jpg", "sub/c.webp"]


def test_one_image(tree: Path) -> None:
    assert list_inputs(str(tree / "sub" / "c.webp"), tree / "out") == (tree / "sub", ["c.webp"])
    assert list_inputs(str(tree / "pipe.jpg"), tree / "out").names == ["pipe.jpg"]


def test_a_pattern(tree: Path) -> None:
    assert list_inputs(f"{tree}/**/*.webp", tree / "out") == (tree, ["sub/c.webp"])
    assert list_inputs(f"{tree}/sub/*", tree / "out") == (tree / "sub", ["c.webp"])


def test_a_pattern_lists_no_file_twice(tree: Path) -> None:
    assert list_inputs(f"{tree}/**/**/*.webp", tree / "out").names == ["sub/c.webp"]


def test_a_pattern_cannot_leave_its_folder(tree: Path) -> None:
    refusal(lambda: list_inputs(f"{tree}/s*/../../*.png", tree / "out"), ".. after a wildcard")


def test_results_beside_the_images(tree: Path) -> None:
    (tree / "clusters").mkdir()
    (tree / "clusters" / "b.png").touch()
    (tree / "legend.png").touch()
    assert list_inputs(str(tree), tree).names == ["a b ü.png", "b.JPG", "lost.png", "out/clusters/f.png", *REST]
    assert list_inputs(str(tree / "sub"), tree).names == ["c.webp"]


def test_a_name_that_looks_like_a_pattern(tree: Path) -> None:
    (tree / "[1]").mkdir()
    (tree / "[1]" / "x.png").touch()
    assert list_inputs(str(tree / "[1]"), tree / "out").names == ["x.png"]


def test_nothing_to_predict(tree: Path) -> None:
    refusal(lambda: list_inputs(str(tree / "absent"), tree / "out"), "there is no", "absent")
    refusal(lambda: list_inputs(f"{tree}/*.gif", tree / "out"), "has no images")
    refusal(lambda: list_inputs(str(tree / "out"), tree / "out"), "has no images")


def test_a_link_to_a_folder_is_not_followed(tree: Path) -> None:
    (tree / "sub" / "loop").symlink_to(tree)
    assert "sub/c.webp" in list_inputs(str(tree), tree / "out").names


def test_results_have_different_names() -> None:
    assert result_names(["a.jpg", "a.png", "a.jpg.png"]) == ["a.jpg", "a.png", "a.jpg.png"]
    names = ["a.jpg", "a.png", "b.jpg", "sub/a.jpg", "B.tar.png", "c.JPG", "C.png"]
    assert result_names(names) == ["a.jpg", "a.png", "b", "sub/a", "B.tar", "c.JPG", "C.png"]
