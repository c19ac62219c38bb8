"""The files and runs that a run was made from: hashes join runs wherever their files lie."""

from collections.abc import Mapping, Sequence
from typing import Any

from src.results.runs import Run


def source_of(run: Run) -> Mapping[str, Any] | None:
    """The weights that a run started from, see `src.checkpoints.provenance.origin`; None for random ones."""
    origin = run.document.get("origin") or {}
    found: Mapping[str, Any] | None = origin.get("encoder_weights") or origin.get("weights")
    return found


def hash_of(run: Run) -> str | None:
    """The hash of a run's own config."""
    found: str | None = (run.document.get("origin") or {}).get("config")
    return found


def hash_before(run: Run) -> str | None:
    """The hash of the run whose weights a run started from; None without such a run."""
    found: str | None = ((source_of(run) or {}).get("origin") or {}).get("config")
    return found


def by_hash(runs: Sequence[Run]) -> dict[str, Run]:
    """Runs by the hash of their config; of several with the same hash, the last is kept."""
    return {found: run for run in runs if (found := hash_of(run)) is not None}
