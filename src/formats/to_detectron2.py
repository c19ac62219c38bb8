"""A ResNet for detectron2: a pickle of plain arrays under its names, as its converters of other models write it.

detectron2 has no release for current versions of torch, so its code can't run here. The file is checked against the
names and shapes of detectron2's own ResNet, and its maps are computed by a small ResNet with these names, see
`src.formats.detectron2_resnet`.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from src.errors import DenseSiamError
from src.formats.agreement import check_same, exact_size, loaded, normalised, readable, sample_images
from src.formats.backbone import Backbone, Written
from src.formats.containers import saved
from src.formats.detectron2_resnet import DEPTHS, expected_shapes, resnet_maps

RENAMED = {"layer4": "res5", "layer3": "res4", "layer2": "res3", "layer1": "res2"}
RENAMED |= {"bn1": "conv1.norm", "bn2": "conv2.norm", "bn3": "conv3.norm"}
RENAMED |= {"downsample.0": "shortcut", "downsample.1": "shortcut.norm"}


def write(backbone: Backbone, output: Path, metadata: Mapping[str, str]) -> Written:
    """Write the weights under detectron2's names; check names, shapes and maps.

    Raises:
        DenseSiamError: detectron2 has no such network, or the check fails.
    """
    if not backbone.is_torchvision:
        raise DenseSiamError(
            f"format=detectron2 writes ResNets of torchvision, found timm's {backbone.name}: choose format=timm"
        )
    if backbone.config.get("padding", "zeros") != "zeros":
        raise DenseSiamError(
            f"detectron2's ResNets pad with zeros, this one with padding={backbone.config['padding']}: choose "
            "format=torchvision with an output in .pth, or train with model.encoder.padding=zeros"
        )
    state = {
        renamed(name): value.contiguous()
        for name, value in backbone.state.items()
        if not name.endswith("num_batches_tracked")
    }
    made = {"model": state, "__author__": "densesiam", "matching_heuristics": True, "metadata": dict(metadata)}
    content = pickled(made) if output.suffix.lower() == ".pkl" else saved(made)
    with readable(content, output.name) as path:
        verify(backbone, path)
    return Written(content, {"library": "detectron2", "config": config_of(backbone)}, lines(backbone, output))


def renamed(name: str) -> str:
    """torchvision's name of an entry in detectron2."""
    for theirs, ours in RENAMED.items():
        name = name.replace(theirs, ours)
    return name if name.startswith("res") else f"stem.{name}"


def config_of(backbone: Backbone) -> dict[str, Any]:
    """The values of detectron2's config that fit the weights."""
    scale = [255 * value for value in backbone.encoder.mean.flatten().double().round(decimals=6).tolist()]
    spread = [255 * value for value in backbone.encoder.std.flatten().double().round(decimals=6).tolist()]
    found: dict[str, Any] = {
        "INPUT.FORMAT": "RGB",
        "MODEL.PIXEL_MEAN": [round(value, 3) for value in scale],
        "MODEL.PIXEL_STD": [round(value, 3) for value in spread],
        "MODEL.RESNETS.DEPTH": DEPTHS[backbone.name],
        "MODEL.RESNETS.STRIDE_IN_1X1": False,
    }
    if backbone.name in ("resnet18", "resnet34"):
        found["MODEL.RESNETS.RES2_OUT_CHANNELS"] = 64
    if len(backbone.encoder.channels) < 4:
        found["MODEL.RESNETS.OUT_FEATURES"] = [f"res{2 + stage}" for stage in range(len(backbone.encoder.channels))]
    return found


def lines(backbone: Backbone, output: Path) -> list[str]:
    """The lines of detectron2's config, and what differs there."""
    found = [f"set in detectron2's config: {key}: {value}" for key, value in config_of(backbone).items()]
    stride = backbone.config.get("output_stride", 32)
    if stride != 32:
        found.append(
            f"trained with output_stride={stride}; detectron2's ResNet has 32, so its maps are coarser and differ "
            "(MODEL.RESNETS.RES5_DILATION: 2 gives 16, with other dilations)"
        )
    return [f"elsewhere: MODEL.WEIGHTS: {output}", *found]


def pickled(made: Mapping[str, Any]) -> bytes:
    """A pickle in which tensors are arrays of numpy. Every version of numpy can read it."""
    arrays = {name: Array(value) for name, value in made["model"].items()}
    return pickle.dumps({**made, "model": arrays}, protocol=4)


class Array:
    """A tensor that is pickled as a call of `numpy.ndarray`.

    numpy's own pickles name a module that older versions of numpy lack, and detectron2 is often used with these.
    """

    def __init__(self, value: Tensor) -> None:
        self.array = value.contiguous().numpy()

    def __reduce__(self) -> tuple[Any, ...]:
        return np.ndarray, (self.array.shape, self.array.dtype.str, bytearray(self.array.tobytes()))


class PlainUnpickler(pickle.Unpickler):
    """Reads pickles that hold only arrays and plain values."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {("numpy", "ndarray"): np.ndarray, ("builtins", "bytearray"): bytearray}
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"found {module}.{name}")
        return allowed[module, name]


def read(path: Path) -> dict[str, Tensor]:
    """The weights in a file for detectron2."""
    if path.suffix.lower() == ".pkl":
        with path.open("rb") as file:
            made = PlainUnpickler(file, encoding="latin1").load()
        return {name: torch.from_numpy(value) for name, value in made["model"].items()}
    state: dict[str, Tensor] = torch.load(path, weights_only=True)["model"]
    return state


def verify(backbone: Backbone, path: Path) -> None:
    """Compare a file's names and shapes with those of detectron2's ResNet, and the maps that its weights give.

    Raises:
        DenseSiamError: a name, a shape or a map differs.
    """
    state = loaded(lambda: read(path), "detectron2")
    stages = len(backbone.encoder.channels)
    expected = expected_shapes(DEPTHS[backbone.name], stages)
    found = {name: tuple(value.shape) for name, value in state.items()}
    wrong = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
    if wrong:
        raise DenseSiamError(
            f"{len(wrong)} entries are not those of detectron2's ResNet-{DEPTHS[backbone.name]}, the first is "
            f"{wrong[0]!r}; nothing was written: choose format=torchvision"
        )
    images = sample_images(exact_size(backbone.encoder))
    with torch.no_grad():
        maps = resnet_maps(
            state, DEPTHS[backbone.name], stages, backbone.encoder.strides, normalised(backbone.encoder, images)
        )
        check_same(backbone.encoder(images), maps, f"a ResNet with detectron2's names and {path.name}")
