"""What a run was made from: hashes of its config and of the files that it started from.

They join a chain: the hash of an exported encoder is among the origins of the run that starts from it, and beside the
encoder lies the origin of the run that trained it.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.errors import DenseSiamError
from src.overrides import flat

# Values that change neither the trained weights nor their scores: where files go, what is shown and kept of a run and
# scored before it, how many processes load (each sample has its own generator), and whether a run was stopped and
# resumed (a checkpoint that it goes on from has a hash of its own beside the config's). What is not named here counts,
# a callback of the user's too; so does where the data lies, since nothing else tells two folders apart.
WITHOUT_EFFECT = (
    "paths",
    "logger",
    "ckpt_path",
    "estimate_steps",
    "score_before",
    "data.num_workers",
    "trainer.default_root_dir",
    "trainer.log_every_n_steps",
    "callbacks.best_by_labelled_miou",
    "callbacks.checkpoint",
    "callbacks.label_free",
    "callbacks.pictures",
    "callbacks.progress",
    "callbacks.unreadable",
)


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        DenseSiamError: the file can't be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DenseSiamError(
            f"expected a file to read at {path}, found none ({error.strerror}): give another"
        ) from error


def file_record(path: str | Path) -> dict[str, str]:
    """A file by its path and its contents: `path` and `sha256`."""
    return {"path": str(path), "sha256": file_hash(path)}


def config_hash(config: Mapping[str, Any]) -> str:
    """SHA-256 of a run's config, in hexadecimal: the same for two runs that must give the same result.

    Args:
        config: plain containers, interpolations resolved. The order of its entries does not count, nor do those that
            `WITHOUT_EFFECT` names.
    """
    canonical = json.dumps(effective(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def origin(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a run is made from, to be kept with what it makes. Read it before the run, which may replace the files.

    Args:
        config: of the run, plain containers, interpolations resolved.

    Returns:
        `config`: see `config_hash`; `weights` and `checkpoint`: the files that the run starts from or goes on from, see
        `file_record`; `encoder_weights`: likewise, or the `name` of weights that a library has. None for each that
        there isn't.

    Raises:
        DenseSiamError: a file can't be read.
    """
    return {
        "config": config_hash(config),
        "weights": _source(config["weights"]),
        "encoder_weights": _source(flat(config).get("model.encoder.weights")),
        "checkpoint": _source(config["ckpt_path"]),
    }


def _source(given: Any) -> dict[str, str] | None:
    if not isinstance(given, str):  # what is refused later is no source either
        return None
    return file_record(given) if Path(given).is_file() else {"name": given}


def effective(config: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """The entries that count, those of inner containers too; `place` is where the config stands in the whole one."""
    return {
        key: effective(value, f"{place}{key}.") if isinstance(value, Mapping) else value
        for key, value in config.items()
        if f"{place}{key}" not in WITHOUT_EFFECT
    }
