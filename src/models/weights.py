"""Weights of encoders: from a file, or from torchvision."""

from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from torch import Tensor, nn

from src.checkpoints.reading import first_line
from src.checkpoints.resnet_layouts import ENCODER, LAYERS, kind_of, resnet_entries
from src.checkpoints.weights_files import Report, check_finite, first_names, read_weights_file
from src.checks import check_text
from src.errors import DenseSiamError


def check_source(weights: Any) -> None:
    """Check a value of `model.encoder.weights`.

    Raises:
        DenseSiamError: the value is neither text nor null.
    """
    if weights is not None:
        check_text("model.encoder.weights", weights, "a name or a file, or null for random weights")


def load_weights(model: nn.Module, state: dict[str, Tensor], source: str, head: str | None = None) -> None:
    """Load a state dict that must fit exactly, except that entries whose names start with `head` are ignored.

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


def torchvision_state(name: str, weights: str) -> dict[str, Tensor]:
    """The entries of a whole ResNet under torchvision's names, see `resnet_weights`."""
    return resnet_weights(name, weights)[0]


def resnet_weights(name: str, weights: str, stages: int = 4) -> tuple[dict[str, Tensor], Report | None]:
    """The entries of a ResNet under torchvision's names.

    Args:
        name: torchvision's name of the ResNet, such as `resnet50`.
        weights: the name of torchvision's weights (downloaded at first use), or a file, see `resnet_entries`.
        stages: how many of the four stages (`layer1` to `layer4`) have to be there.

    Returns:
        the entries, of torchvision's own weights with the classifier `fc`; and for a file what was taken of it.

    Raises:
        DenseSiamError: the weights can't be downloaded; or the file can't be read, holds no ResNet under a known name,
            holds another ResNet, or lacks a part.
    """
    known = torchvision.models.get_model_weights(name)
    if weights in known.__members__:
        try:
            return known[weights].get_state_dict(progress=True, check_hash=True), None
        except (URLError, HTTPException, OSError, RuntimeError) as error:  # RuntimeError: wrong hash
            raise DenseSiamError(
                f"could not download {name} {weights} ({first_line(error)}): fetch the file elsewhere and give its path"
            ) from error
    content = read_weights_file(weights, f"a file with weights, or one of {', '.join(known.__members__)}")
    entries, report = resnet_entries(content, weights)
    check_resnet(name, entries, weights, stages)
    return entries, report


def check_resnet(name: str, entries: Mapping[str, Tensor], source: str, stages: int) -> None:
    """Refuse entries that are not those of a ResNet, or that lack a part of it.

    Args:
        name: torchvision's name of the ResNet.
        entries: entries by torchvision's names.
        source: the file, for messages.
        stages: how many of the four stages have to be there; the others may lack as a whole, never in part.

    Raises:
        DenseSiamError: an entry is missing, unknown or of another shape.
    """
    with torch.device("meta"):
        whole = torchvision.models.get_model(name, weights=None).state_dict()
    expected = {entry: value.shape for entry, value in whole.items() if not entry.startswith("fc.")}
    there = {entry.partition(".")[0] for entry in entries}
    absent = [layer for layer in LAYERS[:stages] if layer not in there]
    if absent:
        raise DenseSiamError(
            f"{source} has no {first_names(absent)}: expected {stages} stages of {name}; if its encoder was trained "
            f"with fewer, set model.encoder.stages={LAYERS.index(absent[0])}"
        )
    wrong = [entry for entry in entries if expected.get(entry) != entries[entry].shape]
    missing = [entry for entry in expected if entry not in entries and entry.partition(".")[0] in there]
    if not wrong and not missing:
        return
    first = next((entry for entry in expected if entry in missing + wrong), wrong[0] if wrong else "")
    found = kind_of(entries)
    if found.replace("-", "").lower() != name:
        raise DenseSiamError(
            f"{source} holds a {found}, for {name}: expected weights of {name}, of which {first!r} is the first entry "
            "that differs; set model/encoder= to the encoder of the file"
        )
    raise DenseSiamError(
        f"{source} holds a part of {name} only: {len(missing)} entries are missing and {len(wrong)} are of another "
        f"shape, the first is {first!r}; expected all entries of its stages"
    )


def state_file(path: str | Path) -> dict[str, Tensor]:
    """A state dict in a file: that of the encoder for a checkpoint of this project, otherwise the plain one.

    Raises:
        DenseSiamError: the file can't be read, holds something else, or an entry is not finite.
    """
    content = read_weights_file(path, "a file with a state dict")
    wrapped = content.get("state_dict") if isinstance(content, dict) else None
    entries = wrapped if isinstance(wrapped, dict) else {}
    own = {name.removeprefix(ENCODER): value for name, value in entries.items() if str(name).startswith(ENCODER)}
    state = own or content
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DenseSiamError(f"{path} does not hold a plain state_dict: save model.state_dict() into it")
    check_finite(state, path)
    return state
