"""Made-up pre-training and fine-tuning runs, and the rows of the tables that are printed from them."""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.composing import CONF

VOC_CLASSES = yaml.safe_load((CONF / "data" / "voc_detection.yaml").read_text())["classes"]
MASK_RCNN = {"_target_": "src.models.mask_rcnn.mask_rcnn"}
C4 = {"_target_": "src.models.c4.faster_rcnn"}
KINDS: dict[str, tuple[dict[str, Any], str, str, int]] = {  # model, task, data, number of the paper's images
    "coco": (MASK_RCNN, "src.tasks.detection.Detect", "src.data.coco_detection.COCODetection", 5000),
    "voc": (C4, "src.tasks.detection.Detect", "src.data.voc_detection.VOCDetection", 4952),
    "cityscapes": ({}, "src.tasks.semantic.Semantic", "src.data.cityscapes.Cityscapes", 500),
    "fcn": ({}, "src.tasks.semantic.Semantic", "src.data.labelled_folder.LabelledFolder", 200),
    "probe": ({}, "src.tasks.dense_probe.DenseProbe", "src.data.labelled_folder.LabelledFolder", 200),
}
DEFINITIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # of data and protocol, by which the paper scores
    "coco": ({}, {"metric": "coco"}),
    "voc": ({"classes": VOC_CLASSES}, {"metric": "voc2007"}),
    "cityscapes": ({"num_classes": 19}, {"side": "own", "crop": False}),
}


def write(folder: Path, config: dict[str, Any], scores: Any, images: int, origin: Any, steps: int = 100) -> None:
    document = {
        "scores": scores,
        "protocol": {"images": images, "protocol": "made up"},
        "cost": {"steps": steps, "train_seconds": 80.0, "total_seconds": 100.0, "train_images": 1600},
        "config": config,
        "environment": {"devices": ["cpu"]},
        "origin": origin,
    }
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text(json.dumps(document))


def pretrained(folder: Path, seed: int = 0, grid_size: int = 7, data: str = "imagenet", region: float = 0.1) -> str:
    """A pre-training run; returns its hash."""
    model = {"grid_size": grid_size, "grid_position": "after_predictor", "global_region": "image"}
    weights = {"image": 1.0, "dense": 1.0, "region": region}
    task = {"_target_": "src.tasks.pretrain.Pretrain", "loss_weights": weights, "region_start": 0.5}
    config = {"seed": seed, "data": {"root": f"/data/{data}", "batch_size": 16}, "model": model, "task": task}
    hashed = f"hash of {folder.name}"
    write(folder, config, {}, 0, {"config": hashed, "weights": None, "encoder_weights": None}, steps=500)
    return hashed


def tuned(folder: Path, kind: str, score: float, seed: int = 0, start: Any = None, **changes: Any) -> None:
    """A fine-tuning run.

    Args:
        folder: of the run.
        kind: a name of KINDS.
        score: its first score; the others are 1, 2, ... higher.
        seed: of the run.
        start: None for scratch, a name of weights, or ("FILE", the hash of the run behind the file or None).
        changes: `images` that are scored, `root` of the data, `encoder`, `lr`, the `step` of the run behind the file,
            the file of `weights` beside that of the encoder, as `start`, values of the `data` and the `protocol`.
    """
    model, task, data, images = KINDS[kind]
    source, whole = (source_of(each, changes.get("step", 500)) for each in (start, changes.get("weights")))
    encoder = {"name": changes.get("encoder", "resnet50"), "weights": None if start is None else str(start)}
    of_data, of_protocol = DEFINITIONS.get(kind, ({}, {}))
    config = {
        "seed": seed,
        "data": {"_target_": data, "root": changes.get("root", f"/data/{kind}"), **of_data, **changes.get("data", {})},
        "protocol": {**of_protocol, **changes.get("protocol", {})},
        "model": {**model, "encoder": encoder},
        "task": {"_target_": task, "optimizer": {"lr": changes.get("lr", 0.02)}},
    }
    names = ["mask_AP", "mask_AP50", "mask_AP75", "AP", "AP50", "AP75"] if kind == "coco" else ["AP", "AP50", "AP75"]
    if "detection" not in task:
        names = ["mIoU", "accuracy"]
    row = {name: score + place for place, name in enumerate(names)}
    rows = {"after training": row}
    if kind == "probe":
        rows |= {f"after training, {name}": {"mIoU": score - 5} for name in ("k-NN", "k-means")}
    origin = {"config": f"hash of {folder}", "weights": whole, "encoder_weights": source}
    write(folder, config, rows, changes.get("images", images), origin)


def source_of(start: Any, step: int | None) -> Any:
    """The entry of a run's origin for a start, see `tuned`."""
    if not isinstance(start, tuple):
        return start and {"name": start}
    source = {"path": f"/somewhere/{start[0]}", "sha256": f"{abs(hash((start, step))):064x}"}
    return source if start[1] is None else {**source, "origin": {"config": start[1]}, "step": step}


def rows_of(printed: list[str], title: str = "table2: what the start") -> dict[str, list[list[str]]]:
    """The cells of the lines of a section, by the first of them."""
    begin = next(place for place, line in enumerate(printed) if line.startswith(f"## {title}"))
    found: dict[str, list[list[str]]] = {}
    for line in printed[begin + 4 :]:
        if not line.startswith("| "):
            break
        first, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        found.setdefault(first, []).append(cells)
    return found
