"""A ResNet for `torchvision.models`: a state dict without the classifier."""

from collections.abc import Mapping
from pathlib import Path

import torch
import torchvision
from torchvision.models.feature_extraction import create_feature_extractor

from src.errors import DenseSiamError
from src.formats.agreement import check_same, exact_size, loaded, normalised, readable, sample_images
from src.formats.backbone import Backbone, Written
from src.formats.containers import contents, reading_code
from src.models.backbones import arrange
from src.models.sizes import maps_of
from src.models.weights import state_file


def write(backbone: Backbone, output: Path, metadata: Mapping[str, str]) -> Written:
    """Write the weights under torchvision's names, and compare what torchvision's model makes of them.

    Raises:
        DenseSiamError: the encoder is not one of torchvision, or the model gives other maps.
    """
    if not backbone.is_torchvision:
        raise DenseSiamError(
            f"format=torchvision writes ResNets of torchvision, found timm's {backbone.name}: choose format=timm"
        )
    content = contents(backbone.state, output.suffix, metadata)
    verify(backbone, content, output.name)
    model = torchvision.models.get_model(backbone.name, weights=None)
    missing = [entry for entry in model.state_dict() if entry not in backbone.state]
    imports, read = reading_code(str(output))
    made = f"torchvision.models.{backbone.name}()"
    code = f"{imports}; import torchvision; model = {made}; model.load_state_dict({read}, strict=False)"
    parts = ", ".join(sorted({name.partition(".")[0] for name in missing}))
    lines = [
        f"missing: {parts} ({len(missing)} entries of the whole {backbone.name})",
        f"elsewhere: {code}",
        *settings_lines(backbone),
    ]
    return Written(content, {"library": "torchvision", "missing": missing}, lines)


def settings_lines(backbone: Backbone) -> list[str]:
    """What no file of weights of a ResNet holds, and how to set it in torchvision, if the encoder has such settings."""
    lines = []
    if backbone.settings.get("padding", "zeros") != "zeros":
        lines.append(
            "then set padding: for module in model.modules(): "
            "isinstance(module, torch.nn.Conv2d) and setattr(module, 'padding_mode', 'reflect')"
        )
    stride = backbone.settings.get("output_stride", 32)
    if stride != 32:
        dilated = [stride <= 4, stride <= 8, stride <= 16]
        deep = backbone.name in ("resnet50", "resnet101")
        lines.append(
            f"set output_stride: torchvision.models.{backbone.name}(replace_stride_with_dilation={dilated})"
            if deep
            else f"set output_stride: torchvision can't dilate {backbone.name}; timm can (format=timm)"
        )
    return lines


def verify(backbone: Backbone, content: bytes, name: str) -> None:
    """Load a file into torchvision's model, give it the encoder's settings, and compare its maps.

    Raises:
        DenseSiamError: torchvision can't load the file, or the maps differ.
    """
    model = torchvision.models.get_model(backbone.name, weights=None)
    with readable(content, name) as path:
        loaded(lambda: model.load_state_dict(state_file(path), strict=False), "torchvision")
    arrange(model, backbone.config.get("padding", "zeros"), backbone.config.get("output_stride", 32))
    stages = [f"layer{stage + 1}" for stage in range(len(backbone.encoder.channels))]
    images = sample_images(exact_size(backbone.encoder))
    with torch.no_grad():
        found = maps_of(create_feature_extractor(model.eval(), stages), normalised(backbone.encoder, images), False)
        check_same(backbone.encoder(images), found, f"torchvision's {backbone.name} with {name}")
