"""Fixtures of all tests: stored arrays and data beside the repository, tiny data sets and weights on disk."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from src.data.coco_stuff import curated_ids
from src.data.scenes import render
from tests.factories import shaken

SHARED = Path(__file__).resolve().parents[2] / "shared"

Golden = Callable[[str], dict[str, np.ndarray]]


def _existing(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is absent: this test compares with material beside the repository")
    return path


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Scenes that tests draw are kept in a folder of their own, for subprocesses too."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def no_process_group_is_left() -> Iterator[None]:
    """A run with `strategy=ddp` in this process leaves a process group and its port, which later runs would take on."""
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def golden() -> Golden:
    """``golden("evaluator")``: the arrays of shared/reference/golden/evaluator.npz; skips where they are absent."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(_existing(SHARED / "reference" / "golden" / f"{name}.npz")) as arrays:
            return dict(arrays)

    return load


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """``shared_data("camvid")``: the folder shared/data/camvid; skips where it is absent."""
    return lambda name: _existing(SHARED / "data" / name)


@pytest.fixture
def labelled_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh folder as `data=labelled_folder` wants it, for a test to use or to damage.

    6 training and 3 validation images, 48 x 40 but for two upright ones, PNG and JPEG, one of them grey; labels of 3
    classes for all of them, with some pixels 255.
    """
    root = tmp_path_factory.mktemp("labelled")
    kinds = {"sky": "stuff", "ground": "stuff", "object": "thing"}
    classes = [{"id": k, "name": name, "kind": kind} for k, (name, kind) in enumerate(kinds.items())]
    (root / "classes.json").write_text(json.dumps(classes), encoding="utf-8")
    coarse = np.array([0, 1, 1, 1, 1, 2, 2, 2], dtype=np.uint8)
    for index in range(9):
        split = "train" if index < 6 else "val"
        pixels, fine = (array[:40] for array in render(9, index, 48))  # (40, 48, 3), (40, 48)
        label = coarse[fine]
        label[18:21, 12:18] = 255
        if index in (1, 7):
            pixels, label = pixels.swapaxes(0, 1), label.swapaxes(0, 1)
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.ascontiguousarray(pixels))
        if index == 2:
            image = image.convert("L")
        image.save(root / "images" / split / f"scene{index}.{'jpg' if index % 3 == 2 else 'png'}")
        Image.fromarray(np.ascontiguousarray(label)).save(root / "labels" / split / f"scene{index}.png")
    return root


@pytest.fixture(scope="session")
def coco_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of COCO's layout with a few generated images under curated names."""
    root = tmp_path_factory.mktemp("coco")
    for split in ("train", "val"):
        images, labels = root / f"{split}2017", root / "stuffthingmaps" / f"{split}2017"
        images.mkdir()
        labels.mkdir(parents=True)
        for index, image_id in enumerate(curated_ids(split)[:8]):
            image, label = render(0, index, 40)
            Image.fromarray(image).save(images / f"{image_id}.jpg")
            Image.fromarray(np.where(label == 0, 255, label * 20).astype(np.uint8)).save(labels / f"{image_id}.png")
    return root


@pytest.fixture(scope="session")
def resnet18_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of torchvision's ResNet-18, with a head of 7 classes."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(shaken(torchvision.models.resnet18(num_classes=7)).state_dict(), path)
    return path
