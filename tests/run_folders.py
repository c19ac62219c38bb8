"""Folders of finished runs as commands leave them, without training anything."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

from src.drawing.colours import palette
from src.results.pages.gallery import Cluster, Gallery, Shown

NAMES = ("sky", "water", "ball")
MATCHED = {
    "head": "main",
    "method": "hungarian",
    "classes": [{"name": name, "kind": "thing" if name == "ball" else "stuff"} for name in NAMES],
    "class_of_cluster": [1, 0, 2, -1],
    "confusion": [[10, 80, 5, 5], [60, 20, 10, 10], [0, 30, 20, 0]],
}
SCORED = {"mIoU": 40.0, "mIoU_stuff": 50.0, "mIoU_thing": 20.0, "accuracy": 61.5}
CSV = """densesiam/mIoU,epoch,label_free/consistency,loss/total,step
12.0,0,,,0
,0,,3.5,0
,0,,2.5,9
30.0,0,0.4,,9
,1,,1.5,19
40.0,1,0.5,,19
"""


def document(labelled: bool = True, **changes: Any) -> dict[str, Any]:
    """The content of a `scores.json`, with these changes."""
    iou = {f"IoU/{name}": value for name, value in zip(NAMES, (40.0, 60.0, None), strict=True)}
    content: dict[str, Any] = {
        "scores": {"before training": SCORED | {"mIoU": 12.0}, "after training": SCORED | iou} if labelled else {},
        "intervals": {"after training": {"mIoU": [38.5, 41.5]}} if labelled else {},
        "label_free": {"consistency": 0.5, "mutual_information": 0.25, "entropy": 0.6, "balance": 0.9},
        "protocol": {"data": "3 photographs", "matching": "hungarian"} if labelled else {"data": "without labels"},
        "cost": {"steps": 20, "epochs": 2, "train_seconds": 12.5, "total_seconds": 20.0, "parameters": 910288},
        "environment": {"python": "3.11", "packages": {"torch": "2.6"}, "devices": ["cpu"], "threads": 1},
        "config": {"seed": 0, "data": {"batch_size": 4}, "model": {"num_categories": 4}},
    }
    return content | ({"matched": MATCHED} if labelled else {}) | changes


def write_run(folder: Path, content: dict[str, Any], overrides: list[str] | None = None) -> Path:
    """Write the folder of a run; with `overrides`, also what Hydra records of a job."""
    (folder / "csv").mkdir(parents=True)
    (folder / "csv" / "metrics.csv").write_text(CSV, encoding="utf-8")
    (folder / "scores.json").write_text(json.dumps(content), encoding="utf-8")
    if overrides is not None:
        record(folder, overrides)
    return folder


def record(folder: Path, overrides: list[str]) -> None:
    """Write what Hydra records of a job before it begins."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text(json.dumps(overrides), encoding="utf-8")


def write_sweep(folder: Path, labelled: bool = True) -> Path:
    """A sweep over K = 2, 4, 10 with two seeds; K = 2 has failed with the second seed, K = 10 with both."""
    for number, (size, seed) in enumerate((size, seed) for size in (10, 2, 4) for seed in (0, 1)):
        place, overrides = folder / f"job{number}", [f"model.num_categories={size}", f"seed={seed}", "experiment=demo"]
        if size == 10 or (size == 2 and seed == 1):
            record(place, overrides)
            continue
        content = document(labelled)
        content["config"] |= {"seed": seed, "model": {"num_categories": size}}
        if labelled:
            content["scores"]["after training"] = SCORED | {"mIoU": 10.0 * size + 2 * seed}
        write_run(place, content, overrides)
    return folder


def picture(palette: bool = False) -> Image.Image:
    """A small photograph, or a label map with a palette."""
    image = Image.new("RGB", (32, 24), (90, 140, 60))
    return image.quantize(4) if palette else image


def gallery(names: tuple[str, ...] = NAMES, images: tuple[str, ...] = ("a.jpg", "b.jpg", "c.jpg")) -> Gallery:
    """A gallery of classes: image k has the class k and the class 0; its IoU is 60 - 10 k."""
    pictures = {"image": picture(), "label": picture(True), "prediction": picture(True)}
    return Gallery(
        kind="classes",
        note="images, from the best IoU to the worst.",
        names=names,
        colours=palette(len(names)),
        indices=range(len(images)),
        shown=[Shown(name, 60.0 - 10 * k, sorted({0, k}), pictures, name) for k, name in enumerate(images)],
        clusters=[Cluster("cluster 0, matched to water", (1, 2, 3), 80.0, [picture()]), Cluster("1", (0, 0, 0), 0, [])],
        predicted=9,
    )
