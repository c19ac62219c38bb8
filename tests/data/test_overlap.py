"""Images that are used twice over: by links and other paths, and by sharing a label file."""

import os
import shutil
import warnings
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from src.data.cityscapes import Cityscapes
from src.data.coco_stuff import CocoStuff
from src.data.labelled_folder import FolderImages
from src.data.overlap import shared_files
from src.data.potsdam import Potsdam
from src.data.probe_data import labelled_folder, own_labels
from tests.data.arrays import Arrays, flat
from tests.data.trees import cityscapes_tree, potsdam_tree
from tests.factories import VIEWS, noise_image, paper
from tests.factories import labelled_data as folder
from tests.factories import unlabelled_data as unlabelled
from tests.refusals import refusal

LOADING: dict[str, Any] = {"views": VIEWS, "protocol": paper(), "batch_size": 1, "num_workers": 0, "seed": 0}
LOADING["on_corrupt"] = "raise"
SHARED = "images both trained on and scored: {}, such as {}; scores of unseen images may be lower"


def said(action: Callable[[], Any]) -> list[str]:
    """The warnings about overlap."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        action()
    return [str(one.message) for one in caught if "and scored" in str(one.message)]


def linked(target: Path, to: Path) -> None:
    """Put a link where there was a file or a folder."""
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    target.symlink_to(to)


def test_a_split_that_is_a_link_to_another(labelled_root: Path) -> None:
    linked(labelled_root / "images" / "val", labelled_root / "images" / "train")
    linked(labelled_root / "labels" / "val", labelled_root / "labels" / "train")
    first = labelled_root / "images" / "train" / "scene0.png"
    assert said(lambda: folder(labelled_root).train) == [SHARED.format(6, first)]


@pytest.mark.parametrize(
    ("way", "name"),
    [
        *product(["val to train", "train to val", "both to a third", "chain"], ["scene6.png", "other.png"]),
        ("hard link", "scene6.png"),
    ],
)
def test_a_single_linked_file(way: str, name: str, labelled_root: Path) -> None:
    trained, scored = labelled_root / "images" / "train" / name, labelled_root / "images" / "val" / "scene6.png"
    if way == "val to train":
        scored.rename(trained)
        scored.symlink_to(os.path.relpath(trained, scored.parent))
    elif way == "train to val":
        trained.symlink_to(scored)
    elif way == "hard link":
        os.link(scored, trained)
    else:
        third = labelled_root / "third.png"
        scored.rename(third)
        scored.symlink_to(third)
        trained.symlink_to(scored if way == "chain" else third)
    assert said(lambda: folder(labelled_root).train) == [SHARED.format(1, trained)]


def test_copies_and_equal_names_are_other_files(labelled_root: Path) -> None:
    shutil.copy(labelled_root / "images" / "val" / "scene6.png", labelled_root / "images" / "train")
    assert said(lambda: folder(labelled_root).train) == []


def test_few_training_images_are_looked_at(labelled_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be a million of them."""
    looked: list[str] = []
    stat = os.stat

    def watched(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        looked.append(str(path))
        return stat(path, *arguments, **options)

    train, val = (FolderImages(labelled_root, [split], labelled=False) for split in ("train", "val"))
    monkeypatch.setattr(os, "stat", watched)
    assert shared_files(train, val).tolist() == []
    assert not [path for path in looked if "/train/" in path]


def test_generated_images_are_no_files() -> None:
    images = Arrays(flat(3))
    assert shared_files(images, images).tolist() == []


def test_cityscapes(tmp_path: Path) -> None:
    root = cityscapes_tree(tmp_path)
    for kind in ("leftImg8bit", "gtFine"):
        linked(root / kind / "val", root / kind / "train")
    data = Cityscapes(str(root), 19, ["train"], "val", **LOADING)
    assert said(lambda: data.train) == [SHARED.format(8, "train/aachen/aachen_000000_000019")]


def test_coco(coco_root: Path, tmp_path: Path) -> None:
    root = shutil.copytree(coco_root, tmp_path / "coco")
    linked(root / "val2017" / "000000000139.jpg", root / "train2017" / "000000000025.jpg")
    data = CocoStuff(str(root), 27, "all", "all", **LOADING)
    assert said(lambda: data.train) == [SHARED.format(1, "000000000025")]


def test_potsdam(tmp_path: Path) -> None:
    root = potsdam_tree(tmp_path)
    linked(root / "imgs" / "10.mat", root / "imgs" / "4.mat")
    data = Potsdam(str(root), ["labelled_train"], "labelled_test", **LOADING)
    assert said(lambda: data.train) == [SHARED.format(1, "4")]


def test_probes_fitted_on_what_is_scored(labelled_root: Path, tmp_path: Path) -> None:
    noise_image(40, 30, 0).save(tmp_path / "a.png")
    noise_image(40, 30, 1).save(tmp_path / "b.png")
    linked(labelled_root / "images" / "val", labelled_root / "images" / "train")
    linked(labelled_root / "labels" / "val", labelled_root / "labels" / "train")
    first = labelled_root / "images" / "train" / "scene0.png"
    expected = SHARED.replace("trained", "fitted").format(6, first)
    assert said(lambda: labelled_folder(unlabelled(tmp_path), str(labelled_root), ["train"], "val")) == [expected]


def test_training_on_a_link_to_what_a_probe_scores(labelled_root: Path, tmp_path: Path) -> None:
    (tmp_path / "photographs").symlink_to(labelled_root / "images" / "val")
    data = labelled_folder(unlabelled(tmp_path / "photographs"), str(labelled_root), ["train"], "val")
    assert said(lambda: data.train) == [SHARED.format(3, tmp_path / "photographs" / "scene6.png")]


@pytest.mark.parametrize("name", ["scene6.jpg", "scene6.PNG", "scene6.tif"])
def test_images_that_share_their_labels_are_refused(name: str, labelled_root: Path) -> None:
    """Each would be counted against the one label map."""
    both = sorted(str(labelled_root / "images" / "val" / one) for one in ("scene6.png", name))
    shutil.copy(labelled_root / "images" / "val" / "scene6.png", labelled_root / "images" / "val" / name)
    label = labelled_root / "labels" / "val" / "scene6.png"
    refusal(lambda: folder(labelled_root), f"{both[0]} and {both[1]} share the labels {label}", "remove or rename")


def test_images_to_train_on_may_share_a_stem_unless_a_probe_is_fitted_on_them(labelled_root: Path) -> None:
    train = labelled_root / "images" / "train"
    shutil.copy(train / "scene0.png", train / "scene0.bmp")
    data = folder(labelled_root)
    assert len(data.train) == 7
    refusal(lambda: own_labels(data).fitted_on, train / "scene0.bmp", train / "scene0.png", "share the labels")
    refusal(lambda: labelled_folder(data, str(labelled_root), ["train"], "val"), "share the labels")


def test_a_split_named_twice_by_other_words(labelled_root: Path) -> None:
    refusal(lambda: FolderImages(labelled_root, ["val", "./val"], labelled=True), "share the labels")
