"""Loading of pretrained weights: from the authors' release, from PiCIE, or from a run of this project.

The release's names are those of ZwwWayne/DenseSiam, commit 99f8ce1; PiCIE's are those of janghyuncho/PiCIE.
"""

import re
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from src.checkpoints.weights_files import Report, check_finite, first_names, read_weights_file
from src.errors import DenseSiamError

EXPECTED = "weights of this network, of the authors' release or of PiCIE"
BACKBONE = "encoder.backbone"
GROUPS = "merging."  # entries of the readout of an over-clustering, which a run finds for itself
HEADS = {"": "head", "aux_": "aux_head", "kernel_": "region_head"}


def load_pretrained(network: nn.Module, path: str | Path) -> Report:
    """Load those weights of a file that fit a network.

    A layer is loaded completely or not at all. So is the backbone, because one entry of another shape means that the
    file has another backbone.

    Args:
        network: a `DenseSiam`.
        path: a file with a state dict, or with a dict that has it under `state_dict`.

    Raises:
        DenseSiamError: the file can't be read safely, or nothing in it fits. The network is unchanged then.
    """
    found = entries(read_weights_file(path, EXPECTED))
    theirs = {name: value for name, value in found.items() if not name.startswith(GROUPS)}
    check_finite(theirs, path)
    own = network.state_dict()
    places = {name: place(name) for name in theirs}
    shapes = {
        name: (tuple(theirs[name].shape), tuple(own[target].shape)) for name, target in places.items() if target in own
    }
    spoilt = {_unit(places[name]) for name, (found, expected) in shapes.items() if found != expected}
    misfits = {
        name: f"{found} for {expected}" if found != expected else "with its layer"
        for name, (found, expected) in shapes.items()
        if _unit(places[name]) in spoilt
    }
    matched = [name for name in shapes if name not in misfits]
    if not matched:
        raise DenseSiamError(
            f"nothing in {path} fits the network: expected {EXPECTED}, with names such as backbone.conv1.weight or "
            f"decoder.layer1.weight, found {first_names(list(theirs)) or 'no tensors'}; "
            "a bare backbone goes into model.encoder.weights"
        )
    network.load_state_dict({places[name]: theirs[name] for name in matched}, strict=False)
    return Report(
        source=str(path),
        matched=matched,
        unmatched=[name for name in theirs if name not in shapes],
        misfits=misfits,
        missing=[name for name in own if name not in places.values()],
    )


def entries(content: Any) -> dict[str, Tensor]:
    """All tensors of a file by their names.

    Args:
        content: a state dict, or a dict with a `state_dict` (mmcv, Lightning, PiCIE). It may have further state dicts,
            such as PiCIE's `classifier1_state_dict`; the names in these get the prefix `classifier1.`.
    """
    parts = content if isinstance(content, dict) else {}
    if isinstance(parts.get("state_dict"), dict):
        wrapped = {str(key): value for key, value in parts.items() if str(key).endswith("state_dict")}
        parts = {key.removesuffix("state_dict").removesuffix("_"): state for key, state in wrapped.items()}
    else:
        parts = {"": parts}
    return {
        _bare(f"{part}.{name}".removeprefix(".")): value
        for part, state in parts.items()
        if isinstance(state, dict)
        for name, value in state.items()
        if isinstance(value, Tensor)
    }


def place(name: str) -> str:
    """The name of an entry in our network: names of the release are translated, other names stay.

    The release counts the decoder's layers from the coarsest of four maps (res5), our neck counts from the finest.
    """
    if name.startswith("backbone."):
        return f"encoder.{name}"
    if layer := re.fullmatch(r"decoder\.layer([1-4])\.(\w+)", name):
        return f"neck.laterals.{4 - int(layer[1])}.{layer[2]}"
    if head := re.fullmatch(r"(|aux_|kernel_)((?:projector|predictor)\.\d\.\w+)", name):
        return f"{HEADS[head[1]]}.{head[2]}"
    return name


def _bare(name: str) -> str:
    """A name without `module.`, which DataParallel adds, and without `network.`, which our LightningModules add."""
    return re.sub(r"(^|\.)module\.", r"\1", name).removeprefix("network.")


def _unit(name: str) -> str:
    """The layer (or the backbone) of an entry, which is loaded completely or not at all."""
    return BACKBONE if name.startswith(f"{BACKBONE}.") else name.rpartition(".")[0]
