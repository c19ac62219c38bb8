"""Files of weights from other programs or other runs: reading without running code, and what of them was loaded."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file

from src.checkpoints.finite import not_finite
from src.checkpoints.reading import StrangeObjectsError, first_line, read_tensors
from src.errors import DenseSiamError


class Report(NamedTuple):
    """Which entries of a file were loaded; its text has one or two lines.

    Attributes:
        source: the file.
        matched: names in the file that were loaded.
        unmatched: names in the file that the network does not have.
        misfits: names in the file that were left out because their shape, or a shape in the same layer, differs from
            the network's; with the reason.
        missing: names in the network that the file does not have; their weights were not changed.
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
        left = "; ".join(f"{len(names)} {kind}: {first_names(names)}" for kind, names in rest.items() if names)
        return f"{len(self.matched)} of {total} entries loaded from {self.source}" + (f"\n{left}" if left else "")


def read_weights_file(path: str | Path, expected: str) -> Any:
    """The content of a file that `torch.save` or, if its name ends in .safetensors, safetensors wrote.

    Args:
        path: the file.
        expected: what the file should hold, in words for messages.

    Raises:
        DenseSiamError: the file can't be read safely.
    """
    if str(path).endswith(".safetensors") and Path(path).is_file():
        try:
            return load_file(path)
        except (OSError, ValueError, SafetensorError) as error:
            raise DenseSiamError(f"can't read {path} ({first_line(error)}): expected {expected}, complete") from error
    try:
        return read_tensors(path, expected)
    except StrangeObjectsError as error:
        raise DenseSiamError(
            f"{error}; if you trust its author, save only its weights with {_extraction(path)}"
        ) from None


def check_finite(state: Mapping[str, Any], path: str | Path) -> None:
    """Refuse weights that are not finite.

    Raises:
        DenseSiamError: an entry holds an infinite value or nan; the message names the first.
    """
    strange = next(not_finite(state), None)
    if strange is not None:
        raise DenseSiamError(f"{strange} in {path} is not finite: expected weights of a training that went well")


def first_names(names: Sequence[str], count: int = 3) -> str:
    """The first of some names, for messages."""
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def _extraction(path: str | Path) -> str:
    """A shell command that loads a file, executing code in it, and saves its weights with None for everything else."""
    read = f'torch.load({json.dumps(str(path), ensure_ascii=False)}, "cpu", weights_only=False)'
    kept = f"tree_map(lambda each: each if torch.is_tensor(each) else None, {read})"
    code = f'import torch; from torch.utils._pytree import tree_map; torch.save({kept}, "weights.pth")'
    return f"python -c {shlex.quote(code)}"
