"""What `benchmarks/accelerator.py` measures: variants of a step, experiments, protocols and generated data."""

import os
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.generated import write_cityscapes, write_coco, write_images, write_voc


class Variant(NamedTuple):
    """How a step computes."""

    name: str
    tf32: bool = False
    bf16: bool = False
    channels_last: bool = False
    compiled: bool = False


VARIANTS = (
    Variant("float32"),
    Variant("TF32", tf32=True),
    Variant("bf16-mixed", tf32=True, bf16=True),
    Variant("bf16-mixed, channels_last", tf32=True, bf16=True, channels_last=True),
)
COMPILED = VARIANTS[-1]._replace(name="the same, encoder by torch.compile", compiled=True)


class Subject(NamedTuple):
    """An experiment, its values, the batch that a GPU gets, and torchvision's network that is its encoder."""

    name: str
    values: tuple[str, ...]
    batch: int
    size: int
    bare: str


class Setting(NamedTuple):
    """What is measured, on what device, and with what data."""

    device: torch.device
    root: Path
    tiny: bool

    def subjects(self) -> list[Subject]:
        """The two experiments of the paper, on images without labels: their training reads none."""
        folder = ("data=folder", f"data.root={self.root / 'images'}", "model.encoder.weights=null", "references=none")
        if self.tiny:
            small = (*folder, "model/encoder=resnet18_half", "model.num_categories=4")
            heads = ("model.hidden_channels=16", "model.image_channels=32", "model.image_bottleneck=8")
            return [
                Subject("coco_seg", (*small, "model.num_aux_categories=8"), 4, 32, "resnet18"),
                Subject("in1k_pretrain", (*small, *heads), 4, 32, "resnet18"),
            ]
        return [
            Subject("coco_seg", folder, 256, 320, "resnet18"),
            Subject("in1k_pretrain", folder, 64, 224, "resnet50"),
        ]

    def transfers(self) -> list[tuple[str, list[str]]]:
        """The protocols by name, with the values that let them read generated data."""
        voc = ["data.train_splits=[train]", "data.val_split=val", "data.classes=[cat,dog,bird]"]
        short = ["debug=tiny_detection"]
        found = {"cityscapes_fcn": list[str](), "voc_faster_rcnn": voc, "coco_mask_rcnn": list[str]()}
        small = {
            "cityscapes_fcn": ["data.views.size=65", "model/encoder=resnet18", "model.channels=16"],
            "voc_faster_rcnn": ["model/encoder=resnet18_c4", *short, "model.pooled=4"],
            "coco_mask_rcnn": ["model/encoder=resnet18", *short, "model.channels=16", "model.box_features=32"],
        }
        return [
            (name, [*values, *(small[name] if self.tiny else []), f"data.root={self.root / name}"])
            for name, values in found.items()
        ]

    @property
    def steps(self) -> int:
        """Number of steps of each variant."""
        return 2 if self.tiny else 20

    @property
    def loaded_steps(self) -> int:
        """Number of steps with a loader."""
        return 2 if self.tiny else 200

    @property
    def warm_up(self) -> int:
        """Number of steps before them, which are not counted."""
        return 1 if self.tiny else 3

    @property
    def transfer_steps(self) -> int:
        """Number of steps of each protocol."""
        return 2 if self.tiny else 200

    @property
    def transfer_batch(self) -> int:
        """Images of a step of each protocol, those of the paper."""
        return 2 if self.tiny else 16

    @property
    def workers(self) -> int:
        """Number of loader processes."""
        return 0 if self.tiny else os.cpu_count() or 1

    @property
    def backend(self) -> str:
        """What torch.compile uses; "eager" compiles nothing, which tests the rest."""
        return "eager" if self.tiny else "inductor"


def values_of(subject: Subject, setting: Setting, batch: int, variant: Variant) -> list[str]:
    """The values of the config with which an experiment is measured."""
    own = [f"experiment={subject.name}", *subject.values, f"data.batch_size={batch}"]
    own += [f"data.views.size={subject.size}", f"data.num_workers={setting.workers}"]
    return [*own, f"model.memory_format={'channels_last' if variant.channels_last else 'contiguous'}"]


def write_data(setting: Setting, transfer: bool) -> None:
    """Write the images and labels of all parts."""
    tiny, root = setting.tiny, setting.root
    if not transfer:
        write_images(root / "images", 16 if tiny else 12288, (80, 60) if tiny else (640, 480))
        return
    write_cityscapes(root / "cityscapes_fcn", 4 if tiny else 1024, 128 if tiny else 2048)
    write_voc(root / "voc_faster_rcnn", 4 if tiny else 2048, (80, 60) if tiny else (500, 375), objects=3)
    write_coco(root / "coco_mask_rcnn", 4 if tiny else 2048, (80, 60) if tiny else (640, 480), objects=7)
