"""The origin of a run: hashes of its config and of the files that it started from.

Origins form a chain: a run that starts from an exported encoder records the encoder's hash, and the file beside the
encoder records the origin of the run that trained it.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.checkpoints.weights_origin import origin_of_weights
from src.errors import DenseSiamError
from src.overrides import flat

# Values that change neither the trained weights nor their scores: the places of the outputs, what a run prints, keeps
# and scores before training, the number of loader processes (each sample has its own generator), and whether a run was
# resumed (the checkpoint that it is resumed from has its own hash). All other values are part of the hash: also those
# that change results by rounding only (compile, data.augment_on, model.memory_format), those of a user's callbacks, and
# the data's folder, since nothing else distinguishes two folders.
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
    "callbacks.optimizer",
    "callbacks.pictures",
    "callbacks.progress",
    "callbacks.training_pictures",
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
    """The `path` of a file and the `sha256` of its contents."""
    return {"path": str(path), "sha256": file_hash(path)}


def config_hash(config: Mapping[str, Any]) -> str:
    """SHA-256 of a run's config, in hexadecimal: the same for two runs that must give the same result.

    Args:
        config: the config in plain containers, with interpolations resolved. The hash depends neither on the order of
            its entries nor on the entries of `WITHOUT_EFFECT`.
    """
    canonical = json.dumps(effective(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def origin(config: Mapping[str, Any]) -> dict[str, Any]:
    """The origin of a run, to be stored with its outputs. Call this before the run, which may replace the files.

    Args:
        config: the config of the run in plain containers, with interpolations resolved.

    Returns:
        `config`: see `config_hash`. `weights` and `checkpoint`: the files that the run starts from or is resumed from,
        see `file_record`. `encoder_weights`: a file too, or the `name` of weights of a library. Each of these three is
        None if the run doesn't use it. If a run of this project wrote a file of `weights` or `encoder_weights`, also
        the `origin` of that run, whose hash joins both runs wherever their files lie, and the `step` of that run in
        which the weights were saved.

    Raises:
        DenseSiamError: a file can't be read.
    """
    return {
        "config": config_hash(config),
        "weights": _with_origin(_source(config["weights"])),
        "encoder_weights": _with_origin(_source(flat(config).get("model.encoder.weights"))),
        "checkpoint": _source(config["ckpt_path"]),
    }


def _source(given: Any) -> dict[str, str] | None:
    if not isinstance(given, str):  # null, or a wrong value that is refused later
        return None
    return file_record(given) if Path(given).is_file() else {"name": given}


def _with_origin(source: dict[str, Any] | None) -> dict[str, Any] | None:
    if source is None or "sha256" not in source:
        return source
    return {**source, **origin_of_weights(source["path"], source["sha256"])}


def effective(config: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """The entries, also nested, that are not in `WITHOUT_EFFECT`; `place` is the prefix of this part's dotted names."""
    return {
        key: effective(value, f"{place}{key}.") if isinstance(value, Mapping) else value
        for key, value in config.items()
        if f"{place}{key}" not in WITHOUT_EFFECT
    }
