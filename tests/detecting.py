"""Small detectors and batches for tests of detection."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from src.models.backbones import resnet
from src.models.c4 import faster_rcnn, resnet_c4
from src.models.detection import DetectionNetwork
from src.models.mask_rcnn import mask_rcnn
from src.models.rcnn import Proposals, Regions

Batch = dict[str, Any]
NAMES = ("cat", "dog")


def proposals(anchor_sizes: list[list[int]], **others: Any) -> Proposals:
    values = {
        "anchor_ratios": [0.5, 1.0, 2.0],
        "kept_train": 200,
        "kept_test": 100,
        "train": 50,
        "test": 20,
        "nms_iou": 0.7,
        "foreground_iou": 0.7,
        "background_iou": 0.3,
        "samples": 32,
        "foreground_share": 0.5,
    }
    return Proposals(anchor_sizes=anchor_sizes, **(values | others))


def regions(**others: Any) -> Regions:
    values = {
        "samples": 8,
        "foreground_share": 0.5,
        "foreground_iou": 0.5,
        "sampling": 2,
        "min_score": 0.05,
        "nms_iou": 0.5,
        "detections": 10,
    }
    return Regions(**(values | others))


def small_faster_rcnn(num_classes: int = 2, side: int = 64, longest: int = 96) -> DetectionNetwork:
    anchors = proposals([[16, 32, 64]])
    return faster_rcnn(resnet_c4("resnet18", None, False), 4, anchors, regions(), num_classes, side, longest)


def small_mask_rcnn(num_classes: int = 2, side: int = 64, longest: int = 96) -> DetectionNetwork:
    anchors, encoder = proposals([[8], [16], [32], [64], [96]]), resnet("resnet18", None, False)
    return mask_rcnn(encoder, 16, 32, anchors, regions(), num_classes, side, longest)


def square(index: int) -> tuple[Tensor, dict[str, Tensor]]:
    """An image (3, 64, 96) with a bright square, whose colour is its class, and its label."""
    generator = torch.Generator().manual_seed(index)
    image = torch.randint(0, 60, (3, 64, 96), dtype=torch.uint8, generator=generator)
    x, y = (int(torch.randint(0, most, (), generator=generator)) for most in (64, 32))
    image[index % 2, y : y + 32, x : x + 32] = 255
    mask = torch.zeros(1, 64, 96, dtype=torch.uint8)
    mask[0, y : y + 32, x : x + 32] = 1
    return image, {
        "boxes": torch.tensor([[x, y, x + 32, y + 32]], dtype=torch.float32),
        "labels": torch.tensor([index % 2]),
        "ignored": torch.zeros(1, dtype=torch.bool),
        "area": torch.tensor([1024.0]),
        "masks": mask,
    }


def without_objects(label: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value[:0] for key, value in label.items()}


def square_batch(indices: list[int], objects: bool = True) -> Batch:
    """A batch of squares, as `src.data.detection.collate` makes it."""
    samples = [square(index) for index in indices]
    return {
        "image": [image for image, _ in samples],
        "label": [label if objects else without_objects(label) for _, label in samples],
        "index": torch.tensor(indices),
        "unreadable": [""] * len(indices),
    }


def voc_tree(root: Path, train: int = 8, val: int = 3) -> Path:
    """Squares as images of cats and dogs in VOC's layout."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for index in range(train + val):
        image, label = square(index)
        to_pil_image(image).save(root / "JPEGImages" / f"{index:03}.jpg", quality=95)
        x0, y0, x1, y1 = (int(side) for side in label["boxes"][0])
        box = f"<xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        size = "<size><width>96</width><height>64</height><depth>3</depth></size>"
        one = f"<object><name>{NAMES[index % 2]}</name><difficult>0</difficult><bndbox>{box}</bndbox></object>"
        (root / "Annotations" / f"{index:03}.xml").write_text(f"<annotation>{size}{one}</annotation>")
    for split, numbers in (("train", range(train)), ("val", range(train, train + val))):
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{index:03}\n" for index in numbers))
    return root


def coco_tree(root: Path, train: int = 8, val: int = 3) -> Path:
    """Squares as images of cats and dogs in COCO's layout, with masks."""
    for split, numbers in (("train", range(train)), ("val", range(train, train + val))):
        (root / f"{split}2017").mkdir(parents=True)
        images, annotations = [], []
        for index in numbers:
            image, label = square(index)
            to_pil_image(image).save(root / f"{split}2017" / f"{index:03}.jpg", quality=95)
            x0, y0, x1, y1 = label["boxes"][0].tolist()
            images.append({"id": index, "file_name": f"{index:03}.jpg", "width": 96, "height": 64})
            annotations.append(
                {
                    "id": index + 1,
                    "image_id": index,
                    "category_id": index % 2 + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": 1024,
                    "iscrowd": 0,
                    "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
                }
            )
        categories = [{"id": number + 1, "name": name} for number, name in enumerate(NAMES)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))
    return root


def faster_overrides(root: Path) -> list[str]:
    """A small Faster R-CNN on `voc_tree`."""
    data = [f"data.root={root}", "data.train_splits=[train]", "data.val_split=val", "data.classes=[cat,dog]"]
    small = ["model.pooled=4", "model.proposals.anchor_sizes=[[16,32,64]]"]
    return ["experiment=small_faster_rcnn", "debug=tiny_detection", *data, *small]


def mask_overrides(root: Path) -> list[str]:
    """A small Mask R-CNN on `coco_tree`."""
    small = ["model.channels=16", "model.box_features=32", "model.proposals.anchor_sizes=[[8],[16],[32],[64],[96]]"]
    return ["experiment=small_mask_rcnn", "debug=tiny_detection", f"data.root={root}", *small]
