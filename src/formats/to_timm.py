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
from src.formats.quiet import quiet
from src.models.backbones import arrange
from src.models.sizes import maps_of
from src.models.timm_names import names_in_model


def write(backbone: Backbone, output: Path, metadata: Mapping[str, str], whole_model: bool = True) -> Written:
    """Write the weights under timm's names, and compare what timm's model makes of them.

    The encoder has no classifier, and perhaps lacks further entries of the whole model. These get timm's initial
    values, always the same, since timm refuses a file without them.

    Args:
        backbone: the encoder.
        output: the file, for its name.
        metadata: texts for the header of a safetensors file.
        whole_model: if false, the file has only the encoder's entries, for models made with `features_only=True`.

    Raises:
        DenseSiamError: timm is not installed, has no such model, or the model gives other maps.
    """
    try:
        import timm
    except ImportError as error:
        raise DenseSiamError("format=timm needs timm: pip install 'densesiam[timm]'") from error
    trained, untrained = backbone.state, []
    state: Mapping[str, Tensor] = trained
    if whole_model:
        initial = initial_values(backbone.name, options_of(backbone))
        names = names_in_model(trained.keys(), initial.keys())
        trained = {names[name]: value for name, value in trained.items()}
        untrained = [name for name in initial if name not in trained]
        state = {**initial, **trained}
    content = contents(state, output.suffix, metadata)
    with readable(content, output.name) as path, quiet():
        verify(backbone, timm, path, trained, whole_model)
    default = timm.create_model(backbone.name, features_only=True).state_dict()
    missing = [name for name in default if name not in backbone.state]
    record = {"library": "timm", "missing": missing, "untrained": untrained}
    return Written(content, record, lines(backbone, output, untrained, whole_model))


def initial_values(name: str, options: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights with which timm makes a model, always the same."""
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state: dict[str, Tensor] = timm.create_model(name, **options).state_dict()
    return state


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


def lines(backbone: Backbone, output: Path, untrained: list[str], whole_model: bool) -> list[str]:
    """How to load the file, and which of its entries are not those of the checkpoint."""
    made, file = f"import timm; model = timm.create_model({backbone.name!r}", str(output)
    features, options = arguments(features_of(backbone)), arguments(options_of(backbone))
    found = []
    if backbone.settings.get("padding", "zeros") != "zeros":
        found.append(
            "then set padding: for module in model.modules(): "
            "isinstance(module, torch.nn.Conv2d) and setattr(module, 'padding_mode', 'reflect')"
        )
    if not whole_model:
        return [f"elsewhere: {made}, checkpoint_path={file!r}{features})", *found]
    parts = ", ".join(sorted({name.partition(".")[0] for name in untrained}))
    overlay = f"pretrained=True, pretrained_cfg_overlay={overlay_of(file)!r}"
    return [
        f"not trained, with timm's initial values: {parts} ({len(untrained)} entries)",
        f"the whole model: {made}, checkpoint_path={file!r}{options})",
        f"with own classes: {made}, {overlay}, num_classes=10{options})",
        f"elsewhere: {made}, {overlay}{features})",
        *found,
    ]


def arguments(values: Mapping[str, Any]) -> str:
    """Further arguments of a call, as code."""
    return "".join(f", {key}={value!r}" for key, value in values.items())


def overlay_of(file: str) -> dict[str, Any]:
    """timm's description of weights in a file. `custom_load` is for the other formats that some of its models have."""
    return {"file": file, "custom_load": False}


def verify(backbone: Backbone, timm: Any, path: Path, trained: Mapping[str, Tensor], whole_model: bool) -> None:
    """Load a file as users do: the whole model strictly, and the backbone with its maps; compare weights and maps.

    Raises:
        DenseSiamError: timm can't load the file, or weights or maps differ.
    """
    name, file = backbone.name, str(path)
    made: dict[str, Any] = {"checkpoint_path": file}
    if whole_model:
        whole: nn.Module = loaded(lambda: timm.create_model(name, **made, **options_of(backbone)), "timm")
        state = whole.state_dict()
        check_same(list(trained.values()), [state[entry] for entry in trained], f"timm's {name} with {path.name}")
        made = {"pretrained": True, "pretrained_cfg_overlay": overlay_of(file)}
    features: nn.Module = loaded(lambda: timm.create_model(name, **made, **features_of(backbone)), "timm")
    if backbone.is_torchvision:
        arrange(features, backbone.config.get("padding", "zeros"), 32)  # timm has dilated it already
    images = sample_images(exact_size(backbone.encoder))
    with torch.no_grad():
        found = maps_of(features.eval(), normalised(backbone.encoder, images), backbone.encoder.channels_last)
        check_same(backbone.encoder(images), found, f"timm's {name} with {path.name}")
