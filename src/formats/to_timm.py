"""A backbone for `timm.create_model(NAME, checkpoint_path=FILE)`, which loads strictly: the file has every entry."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from src.errors import DenseSiamError
from src.formats.agreement import check_same, exact_size, loaded, normalised, readable, sample_images
from src.formats.backbone import Backbone, Written
from src.formats.containers import contents
from src.models.backbones import arrange
from src.models.sizes import maps_of
from src.models.timm_names import names_in_model


def write(backbone: Backbone, output: Path, metadata: Mapping[str, str]) -> Written:
    """Write the weights under timm's names, and compare what timm's model makes of them.

    The encoder has no classifier, and perhaps lacks further entries of the whole model. These get timm's initial
    values, always the same, since timm refuses a file without them.

    Raises:
        DenseSiamError: timm is not installed, has no such model, or the model gives other maps.
    """
    try:
        import timm
    except ImportError as error:
        raise DenseSiamError("format=timm needs timm: pip install 'densesiam[timm]'") from error
    options = options_of(backbone)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole: dict[str, Tensor] = timm.create_model(backbone.name, **options).state_dict()
    names = names_in_model(backbone.state.keys(), whole.keys())
    trained = {names[name]: value for name, value in backbone.state.items()}
    content = contents({**whole, **trained}, output.suffix, metadata)
    with readable(content, output.name) as path:
        verify(backbone, timm, path, trained)
    default = timm.create_model(backbone.name, features_only=True).state_dict()
    untrained = [name for name in whole if name not in trained]
    record = {
        "library": "timm",
        "missing": [name for name in default if name not in backbone.state],
        "untrained": untrained,
    }
    return Written(content, record, lines(backbone, output, untrained))


def options_of(backbone: Backbone) -> dict[str, Any]:
    """The arguments of `timm.create_model` for the whole model."""
    left_out = ("out_indices", "stages", "padding")  # they don't change the entries of the whole model
    return {key: value for key, value in backbone.settings.items() if key not in left_out}


def features_of(backbone: Backbone) -> dict[str, Any]:
    """The arguments of `timm.create_model` for a backbone that gives the encoder's maps."""
    if backbone.is_torchvision:  # timm counts the stem as map 0
        maps = list(range(1, len(backbone.encoder.channels) + 1))
    else:
        info: Any = backbone.encoder.backbone.feature_info
        maps = list(info.out_indices)
    return {"features_only": True, "out_indices": maps, **options_of(backbone)}


def lines(backbone: Backbone, output: Path, untrained: list[str]) -> list[str]:
    """How to load the file, and which of its entries are not those of the checkpoint."""
    parts = ", ".join(sorted({name.partition(".")[0] for name in untrained}))
    given = "".join(f", {key}={value!r}" for key, value in options_of(backbone).items())
    maps = "".join(f", {key}={value!r}" for key, value in features_of(backbone).items())
    overlay = f"pretrained=True, pretrained_cfg_overlay={overlay_of(str(output))!r}"
    found = []
    if untrained:
        found.append(f"not trained, with timm's initial values: {parts} ({len(untrained)} entries)")
    if backbone.settings.get("padding", "zeros") != "zeros":
        found.append(
            "set padding: for module in model.modules(): "
            "isinstance(module, torch.nn.Conv2d) and setattr(module, 'padding_mode', 'reflect')"
        )
    made = f"import timm; model = timm.create_model({backbone.name!r}"
    return [
        *found,
        f"the whole model: {made}, checkpoint_path={str(output)!r}{given})",
        f"with own classes: {made}, {overlay}, num_classes=10{given})",
        f"elsewhere: {made}, {overlay}{maps})",
    ]


def overlay_of(file: str) -> dict[str, Any]:
    """timm's description of weights in a file. `custom_load` is for the other formats that some of its models have."""
    return {"file": file, "custom_load": False}


def verify(backbone: Backbone, timm: Any, path: Path, trained: Mapping[str, Tensor]) -> None:
    """Load a file as users do: the whole model strictly, and the backbone with its maps; compare weights and maps.

    Raises:
        DenseSiamError: timm can't load the file, or weights or maps differ.
    """
    name, file, options = backbone.name, str(path), options_of(backbone)
    whole: nn.Module = loaded(lambda: timm.create_model(name, checkpoint_path=file, **options), "timm")
    state = whole.state_dict()
    check_same(list(trained.values()), [state[entry] for entry in trained], f"timm's {name} with {path.name}")
    made = {"pretrained": True, "pretrained_cfg_overlay": overlay_of(file)}
    features: nn.Module = loaded(lambda: timm.create_model(name, **made, **features_of(backbone)), "timm")
    if backbone.is_torchvision:
        arrange(features, backbone.config.get("padding", "zeros"), 32)
    images = sample_images(exact_size(backbone.encoder))
    with torch.no_grad():
        found = maps_of(features.eval(), normalised(backbone.encoder, images), backbone.encoder.channels_last)
        check_same(backbone.encoder(images), found, f"timm's {name} with {path.name}")
