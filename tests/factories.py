"""Makes the objects that several test modules need: random tensors, images, protocols, tasks, batches, data modules."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from src.data.colours import ColourAugmentation
from src.data.folder import Folder
from src.data.labelled_folder import LabelledFolder
from src.data.views import CropAndWhole
from src.evaluation.probing import ProbeSettings
from src.evaluation.protocol import EvaluationProtocol
from src.metrics import Category
from src.models.backbones import resnet
from src.models.necks import DeepestMap, SimplifiedFPN
from src.models.siamese import DenseSiam
from src.optim import sgd
from src.tasks.criterion import Criterion
from src.tasks.pretrain import Pretrain
from src.tasks.segment import Segment

CLASSES = (Category("sky", "stuff"), Category("sand", "stuff"), Category("ball", "thing"))
TABLE_5 = [
    {"dense": "balanced", "aux": 0, "seg": 0, "region": 0},
    {"dense": "balanced", "aux": "balanced", "seg": 0, "region": 0},
    {"dense": "balanced", "aux": "balanced", "seg": 1.0, "region": 0},
    {"dense": "balanced", "aux": "balanced", "seg": 1.0, "region": 0.1},
]
CRITERION = {
    "distance": "cross_entropy",
    "stop_gradient": True,
    "region_loss": "contrastive",
    "region_temperature": 0.1,
    "region_normalise": True,
    "region_stop_gradient": False,
    "seg_weighting": "frequency",
}
EQ_7 = {"image": 1.0, "dense": 1.0, "region": 0.1}

COLOURS = ColourAugmentation(0.3, 0.3, 0.3, 0.1, 0.8, 0.2, 0.5, (0.05, 0.9))
VIEWS = CropAndWhole(16, (0.5, 1.0), 0.5, COLOURS)  # with every augmentation

Batch = dict[str, Any]


def noise(*shape: int, seed: int = 0, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def images(*shape: int) -> Tensor:
    """Random images with values in [0, 1]."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def noise_image(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def shaken(model: nn.Module) -> nn.Module:
    """Give a model random batch norm statistics too, because those of trained weights are not 0 and 1 either.

    The means are small. Larger ones would make every ReLU give 0, and all networks would agree.
    """
    for name, value in model.state_dict().items():
        if "running_mean" in name:
            value.uniform_(-0.1, 0.1)
        if "running_var" in name:
            value.uniform_(0.5, 1.5)
    return model


def paper(**changes: Any) -> EvaluationProtocol:
    """The paper's protocol at 32 pixels and without intervals, with these changes."""
    values = {"name": "paper", "side": 32, "crop": True, "flip": False, "matching": "hungarian", "head": "main"}
    return EvaluationProtocol(**(values | {"release_blocks": False, "resamples": 0} | changes))


def labelled_data(root: Path, **changes: Any) -> LabelledFolder:
    """`data=labelled_folder` on a folder of the fixture `labelled_root`."""
    options = {"train_splits": ["train"], "val_split": "val", "views": VIEWS, "protocol": paper()}
    options |= {"batch_size": 2, "num_workers": 0, "seed": 0, "on_corrupt": "raise"}
    return LabelledFolder(str(root), **(options | changes))


def unlabelled_data(root: Path, on_corrupt: str = "raise", num_workers: int = 0, **changes: Any) -> Folder:
    """`data=folder` on all images below a folder."""
    loading = {"views": VIEWS, "protocol": paper(), "batch_size": 2, "seed": 3}
    loading |= {"num_workers": num_workers, "on_corrupt": on_corrupt}
    return Folder(str(root), ".", "images", None, **(loading | changes))


def criterion_of(changes: dict[str, Any]) -> Criterion:
    """The release's criterion with those of these changes that are its arguments; they are removed from `changes`."""
    own = {key: changes.pop(key) for key in list(changes) if key in CRITERION}
    return Criterion(**(CRITERION | own))


def alone(value: Tensor) -> Tensor:
    """The mean over processes if there is only one process."""
    return value


def segment_task(**changes: Any) -> Segment:
    """Segmentation of 3 classes by 4 categories with every loss of the paper; RegionSim begins late in the run."""
    torch.manual_seed(0)
    network = partial(
        DenseSiam,
        encoder=changes.pop("encoder", None) or resnet("resnet18", None, frozen=False),
        neck=partial(SimplifiedFPN, channels=16),
        num_categories=changes.pop("num_categories", 4),
        num_aux_categories=10,
        memory_format=changes.pop("memory_format", "contiguous"),
    )
    options: dict[str, Any] = {
        "loss_weights": TABLE_5[3],
        "region_start": 0.8,
        "criterion": criterion_of(changes),
        "optimizer": sgd(base_lr=0.05, batch_size=256, momentum=0.9, weight_decay=1e-4),
        "protocol": paper(),
    }
    return Segment(network, CLASSES, **(options | changes))


def pretrain_task(**changes: Any) -> Pretrain:
    """Pre-training without classes; RegionSim is active from the first step."""
    torch.manual_seed(0)
    values: dict[str, Any] = {
        "encoder": resnet("resnet18", None, frozen=False, output_stride=changes.pop("output_stride", 8)),
        "neck": DeepestMap,
        "num_categories": 12,
        "hidden_channels": 16,
        "image_channels": 24,
        "image_bottleneck": 8,
        "grid_size": 3,
        "grid_position": "after_predictor",
    }
    values |= {name: changes.pop(name) for name in list(changes) if name in (*values, "global_region")}
    options: dict[str, Any] = {
        "classes": (),
        "loss_weights": EQ_7,
        "schedule": "cosine",
        "constant_predictor_lr": False,
        "linear_probe": ProbeSettings(cells_per_image=16, l2=[0.01], max_iterations=20, seed=0),
        "protocol": paper(),
        "region_start": 0.0,
        "criterion": criterion_of(changes),
        "optimizer": sgd(base_lr=0.05, batch_size=256, momentum=0.9, weight_decay=1e-4),
    }
    return Pretrain(partial(DenseSiam, **values), **(options | changes))


def segment_batch() -> Batch:
    """Three pairs of views; the first view is an image, the second a crop of it."""
    generator = torch.Generator().manual_seed(1)
    views = [torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=generator) for _ in range(2)]
    boxes = torch.tensor([[[0.0, 0.0, 1.0, 1.0], [0.1, 0.2, 0.7, 0.8]]]).repeat(3, 1, 1)
    return {
        "views": views,
        "boxes": boxes,
        "valid": torch.tensor([True, True, True]),
        "redrawn": torch.zeros(3),
        "index": torch.arange(3),
    }


def pretrain_batches(count: int, size: int = 4) -> list[Batch]:
    """Batches of pairs of views; the second view is a flipped crop."""
    generator = torch.Generator().manual_seed(1)
    boxes = torch.tensor([[[0.0, 0.0, 1.0, 1.0], [0.7, 0.2, 0.1, 0.8]]]).repeat(size, 1, 1)
    return [
        {
            "views": [torch.randint(0, 256, (size, 3, 32, 32), dtype=torch.uint8, generator=generator) for _ in "ab"],
            "boxes": boxes,
            "valid": torch.ones(size, dtype=torch.bool),
            "redrawn": torch.zeros(size),
            "index": torch.arange(size),
            "unreadable": [""] * size,
        }
        for _ in range(count)
    ]


def at_epoch(task: Segment, epoch: int, max_epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a task behave as in this epoch of a run with one process."""
    strategy = SimpleNamespace(reduce=lambda value, reduce_op: value)
    trainer = SimpleNamespace(
        max_epochs=max_epochs, max_steps=-1, strategy=strategy, global_step=7, current_epoch=epoch
    )
    trainer.precision = "32-true"
    monkeypatch.setattr(Segment, "trainer", trainer)
    monkeypatch.setattr(Segment, "current_epoch", epoch)
    monkeypatch.setattr(Segment, "global_step", 7)
    monkeypatch.setattr(Segment, "log", lambda *args, **kwargs: None)
    monkeypatch.setattr(Segment, "log_dict", lambda *args, **kwargs: None)
