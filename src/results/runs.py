"""Finished runs, read from their `scores.json`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from src.errors import DenseSiamError
from src.overrides import flat
from src.regular import read_text

SCORES = "scores.json"
PARTS = ("scores", "intervals", "protocol", "cost", "environment", "config")  # what every `scores.json` holds


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
    files = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob(SCORES))}
    trained = {path: document for path, document in files.items() if "steps" in document["cost"]}
    return [Run(path.parent, document, flat(document["config"])) for path, document in trained.items()]


def read_run(folder: Path) -> Run:
    """A finished run of any command that scores, whose file may come from a stranger.

    Raises:
        DenseSiamError: the folder has no `scores.json`, or the file is not what a run writes.
    """
    path = folder / SCORES
    try:
        document = json.loads(read_text(path))
    except FileNotFoundError as error:
        raise DenseSiamError(f"{folder} has no {SCORES}: expected the folder of a finished run") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DenseSiamError(f"can't read {path} ({type(error).__name__}): expected the file of a run") from error
    held = document if isinstance(document, dict) else {}
    missing = [part for part in PARTS if not isinstance(held.get(part), dict)]
    missing += [part for part in ("label_free",) if not isinstance(held.get(part) or {}, dict)]
    missing += [row for part in ("scores", "intervals") for row in held.get(part, {}) if not _is_row(held, part, row)]
    if missing:
        raise DenseSiamError(f"{path} has no readable {missing[0]}: expected what src.train or src.evaluate writes")
    return Run(folder, held, flat(held["config"]))


def _is_row(document: Mapping[str, Any], part: str, row: str) -> bool:
    return isinstance(document[part], dict) and isinstance(document[part][row], dict)


def main_row(run: Run) -> str | None:
    """The label of the row that a run is compared by: the trained network, or the checkpoint; None without scores."""
    rows = list(run.document["scores"])
    return next((label for label in ("after training", "checkpoint") if label in rows), rows[-1] if rows else None)
