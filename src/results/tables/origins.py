"""The files and runs that a run was made from: hashes join runs wherever their files lie."""

from collections.abc import Mapping, Sequence
from typing import Any

from src.results.runs import Run

# What names the start of a run, in its config and in its origin.
STARTS = ("weights", "model.encoder.weights", "origin.weights", "origin.encoder_weights")


def source_of(run: Run) -> Mapping[str, Any] | None:
    """The weights that a run started from, see `src.checkpoints.provenance.origin`; None for random ones.

    If a run has both `weights` and `model.encoder.weights`, these are `weights`, which are loaded last and replace the
    encoder.
    """
    origin = run.document.get("origin") or {}
    found: Mapping[str, Any] | None = origin.get("weights") or origin.get("encoder_weights")
    return found


def hash_of(run: Run) -> str | None:
    """The hash of a run's own config."""
    found: str | None = (run.document.get("origin") or {}).get("config")
    return found


def hash_before(run: Run) -> str | None:
    """The hash of the run whose weights a run started from; None without such a run."""
    found: str | None = ((source_of(run) or {}).get("origin") or {}).get("config")
    return found


def step_before(run: Run) -> int | None:
    """The step of the run before in which the weights were saved; None if it is not known."""
    found: int | None = (source_of(run) or {}).get("step")
    return found


def by_hash(runs: Sequence[Run]) -> dict[str, Run]:
    """Runs by the hash of their config; of several with the same hash, the last is kept."""
    return {found: run for run in runs if (found := hash_of(run)) is not None}


def identity(run: Run) -> tuple[str, int | None]:
    """What is equal for two runs if, and only if, they started from the same weights.

    These are the hash and the step of the run before, because several files can hold its weights, such as a checkpoint
    and what was exported from it. For weights of another origin: the hash of the file, or the name; "" for random ones.
    """
    source = source_of(run) or {}
    return hash_before(run) or str(source.get("sha256") or source.get("name") or ""), step_before(run)


def stage_of(before: Run, step: int | None) -> str:
    """The weights of a step of a run in words; "" for those at its end."""
    steps = before.document["cost"]["steps"]
    if step == steps:
        return ""
    return f"an unknown step of {steps}" if step is None else f"step {step} of {steps}"


def counted_once(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """The last run of each start and seed, among runs of one setting; and a remark on each of the others."""
    kept = list({(identity(run), str(run.values.get("seed"))): run for run in runs}.values())
    left = [run for run in runs if all(run is not other for other in kept)]
    return kept, [f"{run.folder} is left out: a later run has the same start, setting and seed." for run in left]
