"""Sheets of training images and their clusters, for runs without labels."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from PIL import Image

from src.assembly.train import train
from src.drawing.cluster_sheet import HEADING, MARGIN, cluster_sheet, legend_entries
from src.drawing.colours import palette
from src.images.resizing import to_show
from src.monitoring.training_pictures import TrainingPictures
from src.tasks.showing import clusters_of
from tests.composing import composed
from tests.factories import noise_image, paper, pretrain_task, segment_task, unlabelled_data

UNLABELLED = [
    "debug=tiny",
    "trainer.fast_dev_run=false",
    "data=folder",
    "callbacks.training_pictures.num_images=3",
]


def folder(root: Path, count: int, broken: tuple[int, ...] = ()) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        path = root / f"{index:02d}.png"
        path.write_bytes(b"no image") if index in broken else noise_image(60, 40, seed=index).save(path)
    return root


@pytest.mark.parametrize(
    ("size", "shown"),
    [((60, 40), (360, 240)), ((4000, 3000), (360, 270)), ((20, 900), (180, 360))],
)
def test_images_of_any_shape_are_shown_at_a_visible_size(size: tuple[int, int], shown: tuple[int, int]) -> None:
    assert to_show(Image.new("RGB", size), 360).size == shown


def test_the_sample_is_spread_over_the_folder_and_always_the_same(tmp_path: Path) -> None:
    data = unlabelled_data(folder(tmp_path, 12))
    expected = [to_show(noise_image(60, 40, seed=index), 90).tobytes() for index in (1, 4, 7, 10)]
    for _ in range(2):
        assert [image.tobytes() for image in data.spread_train_images(4, 90)] == expected
    assert len(data.spread_train_images(99, 90)) == 12
    assert data.spread_train_images(0, 90) == []


def test_in_place_of_an_image_that_cannot_be_read_a_following_one_is_shown(tmp_path: Path) -> None:
    data = unlabelled_data(folder(tmp_path, 12, broken=(1, 4, 5)))
    shown = [image.tobytes() for image in data.spread_train_images(4, 60)]
    assert shown == [noise_image(60, 40, seed=index).tobytes() for index in (2, 7, 10)]  # none is left from 3 to 5


def test_every_picture_is_in_its_place() -> None:
    """The left column gets the third image, because the first one is lower than the second."""
    sizes = [(60, 30), (40, 60), (60, 40)]
    images = [Image.new("RGB", size, (10 * k, 200, 10)) for k, size in enumerate(sizes, 1)]
    maps = [torch.full((size[1], size[0]), k) for k, size in enumerate(sizes)]
    sheet = cluster_sheet(list(zip(images, maps, strict=True)), 4)
    assert sheet is not None
    top = MARGIN + HEADING
    left = [MARGIN + part * (60 + 6) for part in range(3)]
    right = [x + 3 * 66 - 6 + 30 for x in left]
    colours = [tuple(int(value) for value in colour) for colour in palette(4)]
    for k, (columns, y, inset) in enumerate([(left, top, 0), (right, top, 10), (left, top + 36, 0)]):
        pictures = [images[k].getpixel((0, 0)), colours[k]]
        found = [sheet.getpixel((x + inset, y)) for x in columns]
        assert found[:2] == pictures
        np.testing.assert_allclose(found[2], np.mean(pictures, axis=0), atol=1)


def test_the_legend_has_the_frequent_clusters_first() -> None:
    maps = [torch.tensor([[0, 2], [2, 2]]), torch.tensor([[2, 5, 5, 5]])]
    assert legend_entries(maps, 8) == [(2, "2: 50.0 %"), (5, "5: 37.5 %"), (0, "0: 12.5 %"), (None, "5 unused")]
    many = legend_entries([torch.arange(300).view(1, 300)], 300)
    assert len(many) == 41
    assert many[-1] == (None, "260 more")


def test_more_clusters_than_colours_are_drawn() -> None:
    rows = [(Image.new("RGB", (40, 30)), torch.arange(1200).view(30, 40))]
    assert cluster_sheet(rows, 1200) is not None
    assert cluster_sheet([], 3) is None


@pytest.mark.parametrize("method", [[], pytest.param(["+ablation=picie_aux"], marks=pytest.mark.slow)])
def test_a_run_without_labels_leaves_a_sheet_of_each_epoch(method: list[str], tmp_path: Path) -> None:
    root = folder(tmp_path / "images", 8)
    overrides = [
        *UNLABELLED,
        f"data.root={root}",
        "model.num_categories=4",
        "model.num_aux_categories=8",
        "trainer.max_epochs=2",
        *method,
    ]
    train(composed(tmp_path / "run", *overrides, "estimate_steps=0"))
    sheets = sorted((tmp_path / "run" / "pictures").iterdir())
    assert [sheet.name for sheet in sheets] == ["clusters_step000002.png", "clusters_step000004.png"]
    for sheet in sheets:
        with Image.open(sheet) as image:
            assert image.width > 6 * 320


def test_drawing_leaves_the_modes_of_the_network_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = segment_task()
    task.train()
    task.network.encoder.eval()
    before = {name: module.training for name, module in task.named_modules()}
    state = {name: value.clone() for name, value in task.state_dict().items()}
    task.prepare(unlabelled_data(folder(tmp_path, 4)))
    monkeypatch.setattr(type(task), "trainer", lightning.Trainer(logger=False, accelerator="cpu"))
    assert task.training_picture(2) is not None
    assert {name: module.training for name, module in task.named_modules()} == before
    changed = {name for name, value in task.state_dict().items() if not torch.equal(value, state[name])}
    assert changed <= {"merging.groups", "merging.current"}  # found for the checkpoint that is written next


def test_pretraining_has_no_clusters_to_show() -> None:
    assert pretrain_task().training_picture(8) is None


@pytest.mark.parametrize(
    ("side", "only", "flip", "seen"),
    [(32, None, False, (32, 48)), ("own", None, False, (40, 60)), (32, (16, 16), True, (16, 16))],
)
def test_images_are_predicted_whole_at_the_side_of_the_protocol(
    side: int | str, only: tuple[int, int] | None, flip: bool, seen: tuple[int, int]
) -> None:
    sizes = []

    def logits_of(images: torch.Tensor) -> torch.Tensor:
        sizes.append(images.shape[2:])
        half = torch.arange(8).expand(1, 8, 8) < 4
        return torch.stack([half, ~half], dim=1).float()

    found = clusters_of(noise_image(60, 40), logits_of, paper(side=side, flip=flip), only, torch.device("cpu"))
    assert sizes == [seen] * (1 + flip)
    assert found.shape == (40, 60)
    if not flip:
        assert (found[:, :29] == 0).all()
        assert (found[:, 31:] == 1).all()


@pytest.mark.parametrize(
    ("epochs", "due"),
    [(2, [0, 1]), (8, list(range(8))), (16, [1, 3, 5, 7, 9, 11, 13, 15]), (10, [1, 2, 3, 4, 6, 7, 8, 9])],
)
def test_sheets_are_spread_over_the_epochs(epochs: int, due: list[int], tmp_path: Path) -> None:
    pictures = TrainingPictures(str(tmp_path), 8, 8)
    assert [epoch for epoch in range(epochs) if pictures.is_due(epoch, epochs)] == due
    assert all(pictures.is_due(epoch, unlimited) for epoch in range(3) for unlimited in (None, -1))


def test_a_run_that_ends_before_its_last_epoch_has_a_sheet(tmp_path: Path) -> None:
    drawn = []

    class Task:
        is_scored = False

        def training_picture(self, count: int) -> None:
            drawn.append(count)

    trainer: Any = SimpleNamespace(global_step=5, current_epoch=2, max_epochs=40, is_global_zero=True, loggers=[])
    task: Any = Task()
    pictures = TrainingPictures(str(tmp_path), 8, 8)
    pictures.on_train_epoch_end(trainer, task)
    assert drawn == []
    pictures.on_train_end(trainer, task)
    pictures.on_train_end(trainer, task)
    assert drawn == [8]
