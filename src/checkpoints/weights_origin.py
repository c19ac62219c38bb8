"""The run and the step that a file of weights comes from: a checkpoint says it, or the record of an exported file."""

import json
from pathlib import Path
from typing import Any

from src.checkpoints.reading import check_plain, read_tensors
from src.errors import DenseSiamError
from src.regular import read_text


def origin_of_weights(path: str, sha256: str) -> dict[str, Any]:
    """Which run wrote a file, and when.

    Args:
        path: a checkpoint of this project; or a file of `src.export` with its record `FILE.json` beside it, which
            counts only if it holds the hash of the file.
        sha256: hash of the file.

    Returns:
        `origin` of the run, see `src.checkpoints.provenance.origin`; and the `step` of the run in which the weights
        were saved, if it is known. Empty for a file of another program, or without a readable record.
    """
    found, step = recorded(Path(f"{path}.json"), sha256)
    if found is None and not path.endswith(".safetensors"):
        found, step = stored(path)
    try:
        check_plain(found)
    except DenseSiamError:  # a file from a stranger; its weights may still be read safely
        return {}
    if not isinstance(found, dict) or not isinstance(found.get("config"), str):
        return {}
    return {"origin": found} | ({"step": step} if type(step) is int else {})  # a bool is no step


def recorded(record: Path, sha256: str) -> tuple[Any, Any]:
    """Origin and step in the record beside an exported file; None if it is absent or belongs to another file."""
    try:
        content = json.loads(read_text(record))
    except (OSError, ValueError, RecursionError):
        return None, None
    if not isinstance(content, dict) or content.get("sha256") != sha256:
        return None, None
    return content.get("origin"), content.get("step")


def stored(path: str) -> tuple[Any, Any]:
    """Origin and step in a checkpoint; None for another file."""
    try:
        content = read_tensors(path, "a checkpoint")
    except DenseSiamError:  # the run refuses it where the weights are read
        return None, None
    return (content.get("origin"), content.get("global_step")) if isinstance(content, dict) else (None, None)
