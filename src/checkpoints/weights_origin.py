"""The run that a file of weights comes from, as a checkpoint itself says, or the record beside an exported file."""

import json
from pathlib import Path
from typing import Any

from src.checkpoints.reading import check_plain, read_tensors
from src.errors import DenseSiamError
from src.regular import read_text


def origin_of_weights(path: str, sha256: str) -> dict[str, Any] | None:
    """The origin of the run that wrote a file, see `src.checkpoints.provenance.origin`.

    Args:
        path: a checkpoint of this project; or a file of `src.export` with its record `FILE.json` beside it, which
            counts only if it holds the hash of the file.
        sha256: hash of the file.

    Returns:
        the origin; None for a file of another program, or without a readable record.
    """
    found = recorded(Path(f"{path}.json"), sha256)
    if found is None and not path.endswith(".safetensors"):
        found = stored(path)
    try:
        check_plain(found)
    except DenseSiamError:  # a file from a stranger; its weights may still be read safely
        return None
    return found if isinstance(found, dict) and isinstance(found.get("config"), str) else None


def recorded(record: Path, sha256: str) -> Any:
    """The origin in the record beside an exported file; None if it is absent or belongs to another file."""
    try:
        content = json.loads(read_text(record))
    except (OSError, ValueError, RecursionError):
        return None
    return content.get("origin") if isinstance(content, dict) and content.get("sha256") == sha256 else None


def stored(path: str) -> Any:
    """The origin in a checkpoint; None for another file."""
    try:
        content = read_tensors(path, "a checkpoint")
    except DenseSiamError:  # the run refuses it where the weights are read
        return None
    return content.get("origin") if isinstance(content, dict) else None
