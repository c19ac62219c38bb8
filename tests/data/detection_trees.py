"""Small folders in VOC's and COCO's layout, and data modules that read them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from src.data.coco_detection import COCODetection
from src.data.detection_views import ShortSide
from src.data.voc_detection import VOCDetection
from tests.detections import protocol

CORNERS = ("xmin", "ymin", "xmax", "ymax")
OWN = ("cat", "dog", "bird")
VIEWS = {"sides": [48, 64], "longest": 96, "flip_probability": 0.5}
SQUARE = [[10, 10, 20, 10, 20, 20, 10, 20]]


def photograph(path: Path, width: int = 60, height: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)


def object_xml(name: str = "cat", box: Iterable[object] = (11, 11, 20, 20), **marks: object) -> str:
    corners = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(CORNERS, box, strict=False))
    rest = "".join(f"<{tag}>{value}</{tag}>" for tag, value in marks.items())
    return f"<object><name>{name}</name>{rest}<bndbox>{corners}</bndbox></object>"


def annotation(*objects: str, width: int = 60, height: int = 40) -> str:
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation>{size}{''.join(objects)}</annotation>"


def voc_tree(root: Path, splits: Mapping[str, Mapping[str, str | bytes]]) -> Path:
    """Write images, annotations and lists; `splits` holds the annotations of each split by the names of the images."""
    for split, files in splits.items():
        year, _, name = split.rpartition("/")
        folder = root / year
        for kind in ("Annotations", "ImageSets/Main"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_text("".join(f"{each}\n" for each in files))
        for each, content in files.items():
            photograph(folder / "JPEGImages" / f"{each}.jpg")
            data = content if isinstance(content, bytes) else content.encode()
            (folder / "Annotations" / f"{each}.xml").write_bytes(data)
    return root


def voc_data(root: Path, **changes: Any) -> VOCDetection:
    usual: dict[str, Any] = {"train_splits": ["train"], "val_split": "val", "classes": OWN, "batch_size": 1}
    return VOCDetection(str(root), **{**usual, **loading("voc2007"), **changes})


def loading(metric: Any) -> dict[str, Any]:
    return {
        "views": ShortSide(**VIEWS),
        "protocol": protocol(metric),
        "batch_size": 1,
        "num_workers": 0,
        "seed": 0,
        "on_corrupt": "raise",
    }


def instances(*objects: dict[str, Any], images: int = 2, **changes: Any) -> dict[str, Any]:
    """COCO's instances of images 60 x 40 with the ids 7, 8, ...; objects are in image 7 unless they say otherwise."""
    usual = {"image_id": 7, "category_id": 3, "bbox": [10, 10, 10, 10], "iscrowd": 0, "segmentation": SQUARE}
    return {
        "images": [{"id": 7 + k, "file_name": f"{k}.jpg", "width": 60, "height": 40} for k in range(images)],
        "categories": [{"id": 90, "name": "bird"}, {"id": 3, "name": "cat"}],
        "annotations": [{"id": k, **usual, **each} for k, each in enumerate(objects)],
        **changes,
    }


def coco_tree(root: Path, **files: dict[str, Any] | str) -> Path:
    """Write `train` and `val`: images and instances, or another text in place of the instances."""
    for part, content in files.items():
        for name in ("0.jpg", "1.jpg", "2.jpg"):
            photograph(root / part / name)
        (root / f"{part}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return root


def coco_data(root: Path, **changes: Any) -> COCODetection:
    usual = {"train_images": "train", "train_annotations": "train.json", "masks": True}
    usual |= {"val_images": "val", "val_annotations": "val.json"}
    return COCODetection(str(root), **{**usual, **loading("coco"), **changes})
