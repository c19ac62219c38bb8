"""The benchmark of loading: its photographs, its twins of published loaders, and its rows."""

from pathlib import Path

import pytest
import torch

from benchmarks import published_views
from benchmarks.loading import numbers, photograph, pretraining_rows, segmentation_rows
from src.data.folder import FileImages
from src.images.listing import list_images
from src.models.backbones import resnet


@pytest.fixture
def images(tmp_path: Path) -> FileImages:
    photograph(0).save(tmp_path / "a.jpg", quality=92)
    return FileImages(list_images(tmp_path))


def test_made_up_photographs_are_as_large_as_real_ones(images: FileImages) -> None:
    assert images.image(0).size == (640, 480)
    assert 50_000 < Path(images.image_name(0)).stat().st_size < 300_000


def test_published_loaders_give_normalised_views(images: FileImages) -> None:
    for load, side in ((published_views.release, 320), (published_views.simsiam, 224), (published_views.lightly, 224)):
        for _ in range(4):  # most changes of colours come with a probability
            for view in load(Path(images.image_name(0))):
                assert view.shape == (3, side, side)
                assert view.dtype == torch.float32
                assert -3 < float(view.min()) < 0 < float(view.max()) < 3


def test_ours_has_a_goal_beside_each_of_them(images: FileImages) -> None:
    segmentation, pretraining = segmentation_rows(images, 1, 1), pretraining_rows(images, 1, 1)
    assert [row.goal for row in segmentation if row.goal] == [0.25]
    assert {row.name for row in pretraining if row.goal == 0.8} >= {"ours beside simsiam", "ours beside lightly"}
    assert all(row.beside is not None for row in (*segmentation, *pretraining) if row.goal)


def test_ours_is_given_the_numbers_that_an_encoder_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, seen = resnet("resnet18", None, frozen=False), list[torch.Tensor]()
    monkeypatch.setattr(encoder, "maps", lambda images: seen.append(images) or [])
    view = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    encoder(view[None])
    assert torch.equal(seen[0][0], numbers(view))
