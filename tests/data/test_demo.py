"""The embedded demo as a data set: other scenes to score than to train on, the same ones in every run."""

from typing import Any

import numpy as np
import torch

from src.data.colours import ColourAugmentation
from src.data.demo import SceneImages, Scenes
from src.data.scenes import CLASSES, render
from src.data.views import CropAndWhole
from tests.factories import VIEWS, paper


def scenes(**changes: Any) -> Scenes:
    options = {"train_scenes": 5, "val_scenes": 3, "scene_size": 24, "views": VIEWS, "protocol": paper(side=24)}
    return Scenes(**(options | {"batch_size": 2, "num_workers": 0, "seed": 0, "on_corrupt": "raise"} | changes))


def pixels(images: Any) -> list[bytes]:
    return [images.image(index).tobytes() for index in range(len(images))]


def test_training_and_scoring_see_different_scenes() -> None:
    data = scenes()
    assert (len(data.train), len(data.val)) == (5, 3)
    assert len({*pixels(data.train), *pixels(data.val)}) == 8


def test_the_seed_of_the_run_changes_the_draws_but_not_the_scenes() -> None:
    first, second = scenes(seed=0), scenes(seed=7)
    assert pixels(first.train) == pixels(second.train)
    assert pixels(first.val) == pixels(second.val)
    drawn, others = next(iter(first.train_dataloader())), next(iter(second.train_dataloader()))
    assert not torch.equal(drawn["boxes"], others["boxes"])


def test_more_scenes_begin_with_the_same_ones() -> None:
    assert pixels(scenes(train_scenes=7).train)[:5] == pixels(scenes().train)


def test_labels_are_those_of_the_scenes_and_of_the_classes() -> None:
    data = scenes()
    assert data.classes == CLASSES
    batches = list(data.val_dataloader())
    assert [len(batch["image"]) for batch in batches] == [2, 1]
    for index in range(3):
        image, label = render(1, index, 24)
        item = {key: value[index % 2] for key, value in batches[index // 2].items()}
        np.testing.assert_array_equal(item["image"].permute(1, 2, 0).numpy(), image)
        np.testing.assert_array_equal(item["label"].numpy(), label)
        assert item["label"].max() < len(CLASSES)
    assert data.describe() == {"data": "generated scenes", "images": 3, "classes": 8}


def test_scenes_of_a_train_batch_are_views_of_the_right_images() -> None:
    """With colours off and the whole image as the crop, a view is the scene made small."""
    plain = CropAndWhole(24, (1.0, 1.0), 0.0, ColourAugmentation(0, 0, 0, 0, 0, 0, 0, (0.1, 1.0)))
    data = scenes(views=plain)
    for batch in data.train_dataloader():
        for view, index in zip(batch["views"][0], batch["index"], strict=True):
            np.testing.assert_array_equal(view.permute(1, 2, 0).numpy(), render(0, int(index), 24)[0])


def test_names_tell_scenes_apart() -> None:
    images = SceneImages(1, 3, 17)
    assert images.image(0).size == images.label(0).size == (17, 17)
    assert images.image(0).mode == "RGB"
    assert images.label(0).mode == "L"
    assert len({images.label_name(index) for index in range(3)}) == 3
    assert len({images.image_name(index) for index in range(3)}) == 3
