"""The data set of the demo: generated scenes, without files."""

from typing import Unpack

from PIL import Image

from src.checks import check_int
from src.data.datamodule import ImageData, Loading
from src.data.drawn_scenes import cache_folder, drawn_scenes
from src.data.scenes import CLASSES

MOST_SCENES = 100_000  # all of them are kept in memory


class SceneImages:
    """Scenes drawn once and kept in memory, with exact labels.

    Args:
        seed: seed of the generator; another seed gives other scenes.
        count: number of scenes.
        size: side of the images in pixels.
    """

    def __init__(self, seed: int, count: int, size: int) -> None:
        self.images, self.labels = drawn_scenes(seed, count, size, cache_folder())

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> Image.Image:
        return Image.fromarray(self.images[index])

    def image_name(self, index: int) -> str:
        return f"scene {index}"

    def label(self, index: int) -> Image.Image:
        return Image.fromarray(self.labels[index])

    def __str__(self) -> str:
        return "generated scenes"

    def label_name(self, index: int) -> str:
        return f"of scene {index}"

    def split_of(self, index: int) -> str:
        return "scenes"


class Scenes(ImageData):
    """`data=scenes`: trains and scores on different generated scenes, the same ones in every run.

    Args:
        train_scenes, val_scenes: numbers of scenes for training and for scoring.
        scene_size: side at which the scenes are drawn, in pixels.
        loading: see `ImageData`; its seed does not change the scenes.

    Raises:
        DenseSiamError: a value is out of its range.
    """

    def __init__(
        self,
        train_scenes: int,
        val_scenes: int,
        scene_size: int,
        **loading: Unpack[Loading],
    ) -> None:
        check_int("data.train_scenes", train_scenes, low=1, high=MOST_SCENES)
        check_int("data.val_scenes", val_scenes, low=1, high=MOST_SCENES)
        check_int("data.scene_size", scene_size, low=8, high=1024)
        super().__init__(
            train=lambda: SceneImages(0, train_scenes, scene_size),
            val=SceneImages(1, val_scenes, scene_size),
            classes=CLASSES,
            **loading,
        )
