"""Starting from weights that someone else trained: the authors' release, PiCIE, or a run of this project.

Names of the release are those of ZwwWayne/DenseSiam, commit 99f8ce1; PiCIE's are those of janghyuncho/PiCIE.
"""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from src.checkpoints.finite import not_finite
from src.checkpoints.reading import StrangeObjectsError, read_tensors
from src.errors import DenseSiamError

EXPECTED = "weights of this network, of the authors' release or of PiCIE"
BACKBONE = "encoder.backbone"
HEADS = {"": "head", "aux_": "aux_head", "kernel_": "region_head"}


class Report(NamedTuple):
    """What became of each entry; printed, one line or two.

    Attributes:
        source: the file.
        matched: names in the file that were loaded.
        unmatched: names in the file that have no place in the network.
        misfits: names in the file whose shape, or whose layer's, is another in the network, and why; left out.
        missing: names in the network that the file has not; they stay as they were.
    """

    source: str
    matched: Sequence[str]
    unmatched: Sequence[str]
    misfits: Mapping[str, str]
    missing: Sequence[str]

    def __str__(self) -> str:
        total = len(self.matched) + len(self.unmatched) + len(self.misfits)
        rest = {
            "without a place in the network": self.unmatched,
            "of another shape": [f"{name} {reason}" for name, reason in self.misfits.items()],
            "not in the file and left as they were": self.missing,
        }
        left = "; ".join(f"{len(names)} {kind}: {_first(names)}" for kind, names in rest.items() if names)
        return f"{len(self.matched)} of {total} entries loaded from {self.source}" + (f"\n{left}" if left else "")


def start_from(network: nn.Module, path: str | Path) -> Report:
    """Load into a network whatever fits of a file's weights.

    A layer is loaded whole or not at all, and so is the backbone: with one entry of another shape it is another one.

    Args:
        network: a `DenseSiam`.
        path: a state dict, bare or as `state_dict` inside what a training program saved.

    Raises:
        DenseSiamError: a file that can't be read safely, or of which nothing fits; the network is as before.
    """
    try:
        content = read_tensors(path, EXPECTED)
    except StrangeObjectsError as error:
        raise DenseSiamError(
            f"{error}; if you trust who made it, save its weights alone with {_extraction(path)}"
        ) from None
    theirs = entries(content)
    strange = next(not_finite(theirs), None)
    if strange is not None:
        raise DenseSiamError(f"{strange} in {path} is not finite: expected weights of a training that went well")
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
            f"decoder.layer1.weight, found {_first(list(theirs)) or 'no tensors'}; "
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
    """All tensors of a file by name, out of their wrappings.

    Args:
        content: a state dict; or a dict with `state_dict` (mmcv, Lightning, PiCIE), and state dicts of parts beside it
            under names such as PiCIE's `classifier1_state_dict`, which go before the names in them.
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
    """Where an entry belongs in our network: names of the release translated, all others as they are.

    The release counts the decoder's layers from the coarsest of four maps (its res5), our neck counts from the finest.
    """
    if name.startswith("backbone."):
        return f"encoder.{name}"
    if layer := re.fullmatch(r"decoder\.layer([1-4])\.(\w+)", name):
        return f"neck.laterals.{4 - int(layer[1])}.{layer[2]}"
    if head := re.fullmatch(r"(|aux_|kernel_)((?:projector|predictor)\.\d\.\w+)", name):
        return f"{HEADS[head[1]]}.{head[2]}"
    return name


def _bare(name: str) -> str:
    """Without what DataParallel, and our LightningModules, put before (or, in a part, between) the names."""
    return re.sub(r"(^|\.)module\.", r"\1", name).removeprefix("network.")


def _unit(name: str) -> str:
    """What is loaded whole or not at all."""
    return BACKBONE if name.startswith(f"{BACKBONE}.") else name.rpartition(".")[0]


def _first(names: Sequence[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def _extraction(path: str | Path) -> str:
    """A command that reads a file with its program's own classes and writes only its weights."""
    read = f'torch.load({json.dumps(str(path), ensure_ascii=False)}, "cpu", weights_only=False)'
    code = f'import torch; f = {read}; torch.save(f.get("state_dict", f), "weights.pth")'
    return f"python -c {shlex.quote(code)}"
