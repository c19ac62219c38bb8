"""Finished runs, read from their `scores.json`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from src.overrides import flat


class Run(NamedTuple):
    """A finished run.

    Attributes:
        folder: folder of the run.
        document: content of its `scores.json`.
        values: its config as a flat mapping, with keys such as `data.batch_size`.
    """

    folder: Path
    document: Mapping[str, Any]
    values: Mapping[str, Any]


def read_runs(folder: Path) -> list[Run]:
    """All finished training runs below a folder, sorted by path."""
    files = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("scores.json"))}
    trained = {path: document for path, document in files.items() if "steps" in document["cost"]}
    return [Run(path.parent, document, flat(document["config"])) for path, document in trained.items()]
