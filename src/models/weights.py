"""Weights of encoders: from a file, or from torchvision."""

from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from src.checkpoints.reading import first_line, read_tensors
from src.checks import check_text
from src.errors import DenseSiamError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


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
    known = torchvision.models.get_model_weights(name)
    if weights not in known.__members__:
        return state_file(weights, f", or one of {', '.join(known.__members__)}")
    try:
        return known[weights].get_state_dict(progress=True, check_hash=True)
    except (URLError, HTTPException, OSError, RuntimeError) as error:  # RuntimeError: wrong hash
        raise DenseSiamError(
            f"could not download {name} {weights} ({first_line(error)}): fetch the file elsewhere and give its path"
        ) from error


def state_file(path: str | Path, alternatives: str = "") -> dict[str, Tensor]:
    """Read a state dict that `torch.save` or, in a file that ends in .safetensors, safetensors wrote.

    Raises:
        DenseSiamError: the file can't be read, or holds something else.
    """
    expected = f"a file with a state dict{alternatives}"
    if str(path).endswith(".safetensors") and Path(path).is_file():
        try:
            return load_file(path)
        except (OSError, ValueError, SafetensorError) as error:
            raise DenseSiamError(f"can't read {path} ({first_line(error)}): expected {expected}, complete") from error
    state = read_tensors(path, expected)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DenseSiamError(f"{path} does not hold a plain state dict: save model.state_dict() into it")
    return state
