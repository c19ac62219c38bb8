"""Small detectors and batches for tests of detection."""

from typing import Any

import torch
from torch import Tensor

from src.models.backbones import resnet
from src.models.c4 import faster_rcnn, resnet_c4
from src.models.detection import DetectionNetwork
from src.models.mask_rcnn import mask_rcnn
from src.models.rcnn import Proposals, Regions

Batch = dict[str, Any]


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
