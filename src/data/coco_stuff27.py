"""COCO-Stuff with the 27 classes of the IIC / PiCIE benchmark, in COCO's own layout."""

import gzip
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Unpack

from lightning_utilities.core.rank_zero import rank_zero_warn
from PIL import Image

from src.data.datamodule import Loading, TwoViewData
from src.data.images import IGNORE_INDEX, open_image, open_label
from src.errors import DenseSiamError
from src.metrics import Category

LAYOUT = "train2017/, val2017/ and stuffthingmaps/val2017/, as COCO and COCO-Stuff unpack"


def curated_ids(split: str) -> list[str]:
    """Image ids of the benchmark's curated subset: 49,629 for `train`, 2,175 for `val`.

    The lists are facts of the benchmark (IIC, used by PiCIE and the paper) and ship with the package.
    """
    packed = files("src.data").joinpath(f"coco_stuff27_{split}.txt.gz").read_bytes()
    return gzip.decompress(packed).decode("ascii").split()


def benchmark() -> tuple[tuple[Category, ...], list[int]]:
    """The 27 classes, and the class of each COCO-Stuff value 0 to 181."""
    facts = json.loads(files("src.data").joinpath("coco_stuff27.json").read_text(encoding="utf-8"))
    return tuple(Category(entry["name"], entry["kind"]) for entry in facts["classes"]), facts["fine_to_coarse"]


class CocoImages:
    """Images of one split of COCO, with COCO-Stuff's labels mapped to the 27 classes.

    Args:
        root: holds `train2017`, `val2017` and `stuffthingmaps`.
        split: `train` or `val`.
        ids: those of them that are on disk are used; the others are counted in a warning.

    Raises:
        DenseSiamError: none of the images is there.
    """

    def __init__(self, root: Path, split: str, ids: Sequence[str]) -> None:
        folder, self.labels = root / f"{split}2017", root / "stuffthingmaps" / f"{split}2017"
        present = {path.stem for path in folder.glob("*.jpg")}
        self.paths = [folder / f"{image_id}.jpg" for image_id in ids if image_id in present]
        if not self.paths:
            raise DenseSiamError(
                f"{folder} holds none of the {len(ids)} curated images, such as {ids[0]}.jpg: "
                f"expected {LAYOUT} in data.root={root}"
            )
        if len(self.paths) < len(ids):
            rank_zero_warn(f"{folder} lacks {len(ids) - len(self.paths)} of the {len(ids)} curated images")
        _, fine_to_coarse = benchmark()
        # Values between the last class and 255 keep a number outside the classes, so that they are noticed.
        self.table = fine_to_coarse + [IGNORE_INDEX - 1] * (IGNORE_INDEX - len(fine_to_coarse)) + [IGNORE_INDEX]

    def __len__(self) -> int:
        return len(self.paths)

    def image(self, index: int) -> Image.Image:
        return open_image(self.paths[index])

    def label(self, index: int) -> Image.Image:
        return open_label(Path(self.name(index))).point(self.table)

    def __str__(self) -> str:
        return f"curated COCO-Stuff-27 in {self.paths[0].parent}"

    def name(self, index: int) -> str:
        return str(self.labels / f"{self.paths[index].stem}.png")


class CocoStuff27(TwoViewData):
    """`data=coco_stuff27`: trains on the curated images of train2017, scores on those of val2017.

    Args:
        root: holds `train2017`, `val2017` and `stuffthingmaps/val2017`.
        loading: see `TwoViewData`.

    Raises:
        DenseSiamError: the root or its images are missing.
    """

    def __init__(self, root: str, **loading: Unpack[Loading]) -> None:
        folder = Path(root)
        if not folder.is_dir():
            raise DenseSiamError(
                f"data.root is {root!r}, which is no folder: expected {LAYOUT} in it; set data.root=DIR"
            )
        classes, _ = benchmark()
        super().__init__(
            train=lambda: CocoImages(folder, "train", curated_ids("train")),
            val=CocoImages(folder, "val", curated_ids("val")),
            classes=classes,
            **loading,
        )
