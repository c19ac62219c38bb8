"""Splits without labels are left out where probes are fitted, and a missing label file is an error."""

import shutil
import warnings
from pathlib import Path

import pytest
from omegaconf import DictConfig

from src.assembly.assemble import assemble
from src.assembly.train import MAKE
from src.data.demo import SceneImages
from src.data.labelled_part import labelled_part
from src.data.probe_data import own_labels
from src.errors import plain_errors
from tests.composing import composed
from tests.data.configured import configured
from tests.data.trees import cityscapes_tree, potsdam_tree, voc_tree
from tests.refusals import refusal

SAID = r"2 of 8 training images, all of extra, have no labels and are left out of the fit"
SPLITS = "data.train_splits=[train,extra]"


@pytest.fixture
def root(labelled_root: Path) -> Path:
    """A labelled folder with six images in `train` and two in `extra`, which has no labels."""
    extra = labelled_root / "images" / "extra"
    extra.mkdir()
    for index in (0, 1):
        shutil.copy(labelled_root / "images" / "train" / f"scene{index}.png", extra / f"more{index}.png")
    return labelled_root


def assembled(config: DictConfig) -> None:
    """Do what a command does before anything runs."""
    with plain_errors():
        assemble(config, MAKE, "fit")


def test_a_split_without_labels_is_left_out_of_the_probes(root: Path) -> None:
    folder = configured("labelled_folder", root, SPLITS)
    data = own_labels(folder)
    with pytest.warns(UserWarning, match=SAID):
        data.setup("validate")
    assert len(data.train) == 8
    batches = list(data.labelled_dataloader() or [])
    assert sum(len(batch["index"]) for batch in batches) == 6
    assert data.describe()["probes"].endswith(f"6 images, train+extra of {root}, without extra, which has no labels")
    names = [data.fitted_on.image_name(index) for index in range(6)]
    assert names == [folder.train.image_name(index) for index in range(6)]
    assert [data.fitted_on.split_of(index) for index in range(6)] == ["train"] * 6


def test_an_empty_folder_of_labels_is_none(root: Path) -> None:
    (root / "labels" / "extra").mkdir()
    with pytest.warns(UserWarning, match=SAID):
        own_labels(configured("labelled_folder", root, SPLITS)).setup("validate")


def test_the_order_of_the_splits_does_not_matter(root: Path) -> None:
    data = own_labels(configured("labelled_folder", root, "data.train_splits=[extra,train]"))
    with pytest.warns(UserWarning, match=SAID):
        names = [data.fitted_on.label_name(index) for index in range(6)]
    assert all(Path(name).is_file() for name in names)


def test_a_missing_label_file_in_a_split_with_labels_is_an_error(root: Path) -> None:
    missing = root / "labels" / "train" / "scene2.png"
    missing.unlink()
    data = own_labels(configured("labelled_folder", root, SPLITS))
    refusal(lambda: data.setup("validate"), f"1 of 6 training images have no labels, such as {missing}")


def test_training_images_without_any_labels_are_refused(root: Path) -> None:
    data = own_labels(configured("labelled_folder", root, "data.train_splits=[extra]", "data.batch_size=2"))
    refusal(lambda: data.setup("validate"), "2 of 2 training images have no labels", "probe=labelled_folder")


def test_lists_and_cities_are_splits_too(tmp_path: Path) -> None:
    potsdam = configured("potsdam", potsdam_tree(tmp_path / "potsdam")).train
    with pytest.warns(UserWarning, match="4 of 8 training images, all of unlabelled_train, have no labels"):
        part = labelled_part(potsdam, "a probe", "nothing")
    assert [Path(part.label_name(index)).stem for index in range(len(part))] == ["0", "4", "9", "12"]
    tree = cityscapes_tree(tmp_path / "cityscapes")
    cities = configured("cityscapes", tree, "data.train_splits=[test,train]").train
    with pytest.warns(UserWarning, match="1 of 9 training images, all of test, have no labels"):
        assert len(labelled_part(cities, "a probe", "nothing")) == 8


def test_where_all_have_labels_the_set_stays_as_it_is(root: Path, tmp_path: Path) -> None:
    data = [
        configured("labelled_folder", root, "data.train_splits=[train]"),
        configured(
            "voc_segmentation", voc_tree(tmp_path / "voc"), "data.train_splits=[train,val]", "data.val_split=val"
        ),
    ]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "images both trained on and scored")
        sets = [SceneImages(0, 4, 32), *(each.train for each in data)]
    parts = [labelled_part(images, "a probe", "nothing") for images in sets]
    assert all(part is images for part, images in zip(parts, sets, strict=True))
    assert [parts[0].split_of(0), *(parts[2].split_of(index) for index in (0, 3, 4, 6))] == [
        *("scenes", "train", "train", "val", "val")
    ]


def test_supervised_training_refuses_the_split_before_it_starts(root: Path, tmp_path: Path) -> None:
    config = composed(tmp_path, "experiment=small_fcn", "debug=tiny", f"data.root={root}", SPLITS)
    refusal(lambda: assembled(config), "2 of 8 training images have no labels", "labels/extra/more0.png")


def test_a_split_that_is_named_for_a_probe_needs_its_labels(root: Path, tmp_path: Path) -> None:
    own = ["experiment=coco128_pretrain", "debug=tiny", f"data.root={root}", f"probe.root={root}"]
    config = composed(tmp_path, *own, "probe.train_splits=[train,extra]")
    refusal(lambda: assembled(config), "2 of 8 label files are missing", "labels/extra/more0.png")
