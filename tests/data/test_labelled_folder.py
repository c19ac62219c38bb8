"""A folder of images and labels: what is read, who sees which part of it, and one line for every mistake."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from src.data.eval_datasets import WholeImages
from src.data.labelled_folder import FolderImages, images_in, read_classes
from src.data.reading import Reader
from src.errors import DenseSiamError
from src.images.reading import open_label
from src.metrics import Category
from tests.factories import labelled_data as folder
from tests.factories import paper
from tests.refusals import refusal


def test_the_layout_is_read(labelled_root: Path) -> None:
    data = folder(labelled_root)
    assert data.classes == (Category("sky", "stuff"), Category("ground", "stuff"), Category("object", "thing"))
    assert [path.name for path in data.train.paths] == [
        *("scene0.png", "scene1.png", "scene2.jpg", "scene3.png", "scene4.png", "scene5.jpg")
    ]
    assert [data.val.image(index).size for index in range(3)] == [(48, 40), (40, 48), (48, 40)]
    assert data.describe() == {"data": f"val of {labelled_root}", "images": 3, "classes": 3}
    batches = list(data.val_dataloader())
    assert [tuple(batch["image"].shape) for batch in batches] == [(2, 3, 32, 32), (1, 3, 32, 32)]
    labels = torch.cat([batch["label"] for batch in batches])
    assert labels.dtype == torch.int64
    assert labels.unique().tolist() == [0, 1, 2, 255]
    for index in range(3):
        whole = np.asarray(open_label(labelled_root / "labels" / "val" / f"scene{index + 6}.png"))
        assert set(labels[index].unique().tolist()) == set(whole.flatten().tolist())


def test_several_splits_are_one_after_the_other(labelled_root: Path) -> None:
    with pytest.warns(UserWarning, match="both trained on and scored: 3"):
        images = folder(labelled_root, train_splits=["val", "train"]).train
    assert [path.parent.name for path in images.paths] == ["val"] * 3 + ["train"] * 6


def test_other_files_are_left_alone_and_suffixes_may_be_capitals(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.Png", "c.jpeg", "notes.txt", "Thumbs.db", "d.json"):
        (tmp_path / name).touch()
    assert [path.name for path in images_in(tmp_path)] == ["a.Png", "b.JPG", "c.jpeg"]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_training_never_opens_labels(labelled_root: Path, num_workers: int) -> None:
    for path in (labelled_root / "labels" / "train").iterdir():
        path.write_bytes(b"not an image")
    data = folder(labelled_root, num_workers=num_workers)
    with pytest.raises(DenseSiamError):
        data.train.label(0)
    seen = torch.cat([batch["index"] for batch in data.train_dataloader()])
    assert sorted(seen.tolist()) == list(range(6))
    shutil.rmtree(labelled_root / "labels" / "train")
    assert len(list(folder(labelled_root, num_workers=num_workers).train_dataloader())) == 3


def test_whole_images_for_kmeans_are_the_same_in_every_process(labelled_root: Path) -> None:
    shutil.rmtree(labelled_root / "labels" / "train")
    alone, shared = folder(labelled_root), folder(labelled_root)
    shared.trainer = SimpleNamespace(global_rank=1, world_size=2, training=False)
    first, second = (
        torch.cat(list(data.whole_train_dataloader(4, torch.Generator().manual_seed(0)))) for data in (alone, shared)
    )
    assert first.shape == (4, 3, 32, 32)
    assert torch.equal(first, second)
    assert len({image.numpy().tobytes() for image in first}) == 4
    everything = torch.cat(list(alone.whole_train_dataloader(100, torch.Generator())))
    assert len(everything) == 6
    whole = WholeImages(Reader(alone.train, "raise", 0), paper())
    again = {whole[index].numpy().tobytes() for index in range(6)}
    assert {image.numpy().tobytes() for image in everything} == again


def test_a_missing_root(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    refusal(lambda: folder(absent), absent, "images/<split>", "classes.json", "data.root=")


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_missing_or_empty_split(labelled_root: Path, split: str) -> None:
    part = labelled_root / "images" / split
    for path in part.iterdir():
        path.unlink()
    (part / "readme.txt").touch()
    refusal(lambda: folder(labelled_root).setup("fit"), part, "it has none", "images/<split>")
    shutil.rmtree(part)
    refusal(lambda: folder(labelled_root).setup("fit"), part, "no such folder", "images/<split>")


def test_scoring_needs_no_training_images(labelled_root: Path) -> None:
    shutil.rmtree(labelled_root / "images" / "train")
    data = folder(labelled_root)
    data.setup("validate")
    assert sum(len(batch["label"]) for batch in data.val_dataloader()) == 3
    assert data.describe()["data"] == f"val of {labelled_root}"


def test_images_without_labels(labelled_root: Path) -> None:
    missing = labelled_root / "labels" / "val" / "scene7.png"
    missing.unlink()
    refusal(lambda: folder(labelled_root), missing, "1 of 3")
    shutil.rmtree(labelled_root / "labels")
    refusal(lambda: folder(labelled_root), missing.with_name("scene6.png"), "3 of 3")
    assert len(FolderImages(labelled_root, ["val"], labelled=False)) == 3


def wrong_size(path: Path) -> None:
    Image.fromarray(np.zeros((40, 47), np.uint8)).save(path)


def wrong_value(path: Path) -> None:
    values = np.zeros((40, 48), np.uint8)
    values[3, 4], values[5, 6], values[0, 0] = 3, 17, 255
    Image.fromarray(values).save(path)


def wrong_mode(path: Path) -> None:
    Image.new("RGB", (48, 40)).save(path)


def wrong_depth(path: Path) -> None:
    Image.fromarray(np.zeros((40, 48), np.uint16)).save(path)


def wrong_content(path: Path) -> None:
    path.write_bytes(b"not an image")


def wrong_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-60])


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (wrong_size, ["47 x 40", "48 x 40", "expected the same size"]),
        (wrong_value, ["[3, 17]", "expected 0 to 2", "255"]),
        (wrong_mode, ["mode RGB", "expected one 8-bit channel"]),
        (wrong_depth, ["mode I;16", "expected one 8-bit channel"]),
        (wrong_content, ["can't read the labels"]),
        (wrong_end, ["can't read the labels"]),
    ],
)
def test_wrong_labels(labelled_root: Path, damage: Callable[[Path], None], expected: list[str]) -> None:
    path = labelled_root / "labels" / "val" / "scene8.png"
    damage(path)
    refusal(lambda: list(folder(labelled_root).val_dataloader()), path, *expected)


@pytest.mark.parametrize("damage", ["not an image", "cut off"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_broken_photograph(labelled_root: Path, split: str, damage: str) -> None:
    path = labelled_root / "images" / split / ("scene5.jpg" if split == "train" else "scene8.jpg")
    path.write_bytes(b"not an image" if damage == "not an image" else path.read_bytes()[:-300])
    data = folder(labelled_root)
    loader = data.train_dataloader() if split == "train" else data.val_dataloader()
    refusal(lambda: list(loader), path, "can't read the image")


@pytest.mark.parametrize("mistake", ["labels of another size", "broken photograph"])
def test_a_workers_error_says_the_same(labelled_root: Path, mistake: str) -> None:
    if mistake == "broken photograph":
        (labelled_root / "images" / "val" / "scene8.jpg").write_bytes(b"not an image")
    else:
        wrong_size(labelled_root / "labels" / "val" / "scene8.png")
    first, second = (
        refusal(lambda n=n: list(folder(labelled_root, num_workers=n).val_dataloader()), "scene8") for n in (0, 1)
    )
    assert first == second


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        '{"0": "sky"}',
        "3",
        "null",
        "[]",
        '["sky", "ground"]',
        '[{"id": 0, "name": "sky"}]',
        '[{"id": 0, "name": "sky", "kind": "air"}]',
        '[{"id": 0, "name": "sky", "kind": "stuff"}, {"id": 2, "name": "cat", "kind": "thing"}]',
        '[{"id": 1, "name": "sky", "kind": "stuff"}]',
        '[{"id": 0, "name": "sky", "kind": "stuff"}, {"id": 0, "name": "cat", "kind": "thing"}]',
        '[{"id": 0, "name": "sky", "kind": "stuff"}, {"id": "1", "name": "cat", "kind": "thing"}]',
    ],
)
def test_wrong_classes(labelled_root: Path, content: str) -> None:
    path = labelled_root / "classes.json"
    path.write_text(content, encoding="utf-8")
    refusal(lambda: folder(labelled_root), path, 'expected a list of {"id": 0', "without a gap")


def test_missing_classes(labelled_root: Path) -> None:
    path = labelled_root / "classes.json"
    path.unlink()
    refusal(lambda: folder(labelled_root), path, "there is no", 'expected a list of {"id": 0')


def test_classes_may_be_listed_in_any_order(tmp_path: Path) -> None:
    entries = [{"id": 1, "name": "cat", "kind": "thing"}, {"id": 0, "name": "sky", "kind": "stuff", "colour": 3}]
    (tmp_path / "classes.json").write_text(json.dumps(entries), encoding="utf-8")
    assert read_classes(tmp_path / "classes.json") == (Category("sky", "stuff"), Category("cat", "thing"))


def test_fewer_images_than_a_batch(labelled_root: Path) -> None:
    assert len(list(folder(labelled_root, batch_size=6).train_dataloader())) == 1
    refusal(
        lambda: folder(labelled_root, batch_size=7).setup("fit"),
        "batch_size is 7",
        "6 training images",
        "data.batch_size",
    )


@pytest.mark.parametrize("loader", ["train_dataloader", "val_dataloader"])
def test_a_batch_that_processes_cannot_share(labelled_root: Path, loader: str) -> None:
    data = folder(labelled_root, batch_size=3)
    data.trainer = SimpleNamespace(global_rank=0, world_size=2)
    refusal(getattr(data, loader), "batch_size is 3", "2 processes", "a multiple of 2")


def test_processes_share_a_batch(labelled_root: Path) -> None:
    train, val = [], []
    for rank in range(2):
        data = folder(labelled_root, batch_size=2)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2, training=False)
        assert {len(batch["index"]) for batch in data.train_dataloader()} == {1}
        train += [index for batch in data.train_dataloader() for index in batch["index"].tolist()]
        val += [image.numpy().tobytes() for batch in data.val_dataloader() for image in batch["image"]]
    assert sorted(train) == list(range(6))
    assert len(val) == len(set(val)) == 3


def test_every_process_needs_an_image_to_score(labelled_root: Path) -> None:
    data = folder(labelled_root, batch_size=4)
    data.trainer = SimpleNamespace(global_rank=0, world_size=4)
    refusal(data.val_dataloader, "there are 3 images to score and 4 processes", "fewer processes")
