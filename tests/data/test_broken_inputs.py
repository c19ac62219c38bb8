"""Odd and broken images in training and in scoring: loaded with the right pixels, or named."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from src.data.reading import Loader
from src.errors import DenseSiamError
from tests.data.broken import FORBIDDEN, LEFT_OUT, PICTURE, UNREADABLE, VIEWS, Sample, data_of, folder_of
from tests.data.documented import quoted, require_documented, row
from tests.data.odd import ODD

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="file names and messages of Linux"),
    pytest.mark.filterwarnings("ignore:images both trained on and scored.*disk.png"),  # in both splits the same device
]
SAMPLES = [*ODD, *UNREADABLE, *LEFT_OUT]
NOBODY = 65534


class Outcome(NamedTuple):
    """What became of a file.

    Args:
        said: when training and when scoring with `raise`; empty where it was loaded.
        named: with `skip`, what stands in its two batches; empty where it was loaded.
        pair, scored: these batches, of one; None if it is no part of the set.
    """

    said: list[str]
    named: list[str]
    pair: dict[str, Any] | None
    scored: dict[str, Any] | None


def by_name(loader: Loader) -> dict[str, dict[str, Any]]:
    return {Path(loader.reader.images.image_name(int(batch["index"]))).name: batch for batch in loader}


def shown(message: object, root: Path) -> str:
    return quoted(message, root / "images" / "train", root / "images" / "val") if message else ""


def said_by(loader: Loader, root: Path) -> str:
    try:
        by_name(loader)
    except DenseSiamError as error:
        return shown(error, root)
    return ""


@contextmanager
def another_user() -> Iterator[None]:
    """Root may read everything: be somebody else for a while."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def observed(sample: Sample) -> Outcome:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        os.chmod(name, 0o755)
        root = folder_of(Path(name), [sample])
        stopping, skipping = data_of(root, "raise"), data_of(root, "skip")
        with another_user() if sample is FORBIDDEN and os.geteuid() == 0 else nullcontext():
            said = [said_by(loader, root) for loader in (stopping.train_dataloader(), stopping.val_dataloader())]
            found = [
                by_name(loader).get(sample.name) for loader in (skipping.train_dataloader(), skipping.val_dataloader())
            ]
        return Outcome(said, [shown(batch["unreadable"][0], root) for batch in found if batch], *found)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    return {sample.kind: observed(sample) for sample in SAMPLES}


def rgb(batch: Tensor) -> np.ndarray:
    """(1, 3, H, W) uint8 to (H, W, 3), signed for differences."""
    return batch[0].permute(1, 2, 0).numpy().astype(int)


def whole_view(pixels: np.ndarray) -> np.ndarray:
    return rgb(VIEWS(Image.fromarray(np.ascontiguousarray(pixels)))["views"][1][None])


@pytest.mark.parametrize("sample", ODD, ids=lambda sample: sample.kind)
def test_odd_images_show_the_right_pixels(sample: Sample, outcomes: dict[str, Outcome]) -> None:
    said, named, pair, scored = outcomes[sample.kind]
    assert said == named == ["", ""]
    assert sample.pixels is not None
    assert pair is not None
    assert scored is not None
    found, view = rgb(scored["image"]), rgb(pair["views"][1])
    assert found.shape == sample.pixels.shape
    assert np.abs(found - sample.pixels).max() <= sample.tolerance
    assert np.abs(view - whole_view(sample.pixels)).max() <= sample.tolerance


@pytest.mark.parametrize("sample", UNREADABLE, ids=lambda sample: sample.kind)
def test_broken_images_are_named(sample: Sample, outcomes: dict[str, Outcome]) -> None:
    said, named, pair, scored = outcomes[sample.kind]
    assert said == named == [said[0]] * 2
    assert said[0].startswith("`can't read the image DIR/")
    assert pair is not None
    assert scored is not None
    np.testing.assert_array_equal(rgb(pair["views"][1]), whole_view(np.asarray(PICTURE)))
    assert (scored["label"] == 255).all()


@pytest.mark.parametrize("sample", LEFT_OUT, ids=lambda sample: sample.kind)
def test_what_is_no_image_is_no_part_of_the_set(sample: Sample, outcomes: dict[str, Outcome]) -> None:
    assert outcomes[sample.kind] == Outcome(["", ""], [], None, None)


def test_loader_processes_say_the_same(tmp_path: Path, outcomes: dict[str, Outcome]) -> None:
    """All files beside each other, numbered, as two of one stem would share their labels."""
    numbered = dict(enumerate(sample for sample in [*ODD, *UNREADABLE] if sample is not FORBIDDEN))
    samples = [replace(sample, name=f"{number}{sample.name}") for number, sample in numbered.items()]
    expected = {
        f"{number}{sample.name}": outcomes[sample.kind].said[0].replace("DIR/", f"DIR/{number}")
        for number, sample in numbered.items()
        if sample in UNREADABLE
    }
    data = data_of(folder_of(tmp_path, [*samples, *LEFT_OUT]), "skip", num_workers=1)
    for found in (by_name(data.train_dataloader()), by_name(data.val_dataloader())):
        assert len(found) == 1 + len(samples)
        named = {name: shown(batch["unreadable"][0], tmp_path) for name, batch in found.items()}
        assert {name: text for name, text in named.items() if text} == expected


def test_the_table_of_images(outcomes: dict[str, Outcome]) -> None:
    rows = []
    for sample in SAMPLES:
        said, _, pair, _ = outcomes[sample.kind]
        fine = f"loaded{f', {sample.remark}' if sample.remark else ''}" if pair else "no part of the set"
        rows.append(row(sample.kind, said[0] or fine, "skipped" if said[0] else fine))
    require_documented("Images", rows)
