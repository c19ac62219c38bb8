"""Finished runs, read back from what they left on disk."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from src.overrides import flat


class Run(NamedTuple):
    """A finished run: its folder, its `scores.json`, and its config by dotted names."""

    folder: Path
    document: Mapping[str, Any]
    values: Mapping[str, Any]


def read_runs(folder: Path) -> list[Run]:
    """Every training run that has finished below a folder, in order of their paths."""
    files = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("scores.json"))}
    trained = {path: document for path, document in files.items() if "steps" in document["cost"]}
    return [Run(path.parent, document, flat(document["config"])) for path, document in trained.items()]
