"""What an exported file says about its origin, for those who get only the file."""

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from src.checkpoints.provenance import file_hash
from src.evaluation.matched import Matched
from src.models.encoder import Encoder
from src.prediction.loading import stored_matching


def metadata_of(checkpoint: Mapping[str, Any], source: Path, encoder: Encoder) -> dict[str, Any]:
    """The origin of a checkpoint's weights and what is needed to use them, in plain values without paths.

    Args:
        checkpoint: the content of the checkpoint, whose config has been checked.
        source: the checkpoint's file.
        encoder: its encoder.

    Returns:
        `method` and `data`: the task and the data of the run, None if the config has none. `epochs`: how many have been
        begun. `normalisation`: mean and standard deviation of RGB in [0, 1]. `classes`: the class of each cluster, for
        a run that was scored on labels, or the classes that the network learned. `align_corners`: how its logits are to
        be upsampled. `checkpoint_sha256`.

    Raises:
        DenseSiamError: the matching in the checkpoint is damaged, or an entry is not plain.
    """
    config, epoch = checkpoint["config"], checkpoint.get("epoch")
    return {
        "method": _last_name(config.get("task")),
        "data": _data(config.get("data")),
        "epochs": epoch + 1 if type(epoch) is int else None,
        "normalisation": {
            "mean": encoder.mean.flatten().double().round(decimals=6).tolist(),
            "std": encoder.std.flatten().double().round(decimals=6).tolist(),
        },
        "classes": _classes(stored_matching(checkpoint, source)),
        "align_corners": encoder.align_corners,
        "checkpoint_sha256": file_hash(source),
    }


def as_texts(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The same as texts, in JSON where a value is not a text, under names that start with `densesiam.`."""
    return {
        f"densesiam.{key}": value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()
    }


def _last_name(part: Any) -> str | None:
    """The name of the class that a part of the config describes."""
    return str(part["_target_"]).rpartition(".")[2] if isinstance(part, Mapping) and "_target_" in part else None


def _data(part: Any) -> dict[str, str | None] | None:
    name = _last_name(part)
    if name is None:
        return None
    root = part.get("root")
    return {"kind": name, "folder": PurePath(root).name if isinstance(root, str) else None}


def _classes(found: Matched | None) -> dict[str, Any] | None:
    if found is None:
        return None
    learned = found.method == "identity"
    return {
        "head": found.head,
        "matching": found.method,
        "names": [category.name for category in found.classes],
        "class_of_cluster": list(found.class_of_cluster),  # -1: a cluster without a class
        "note": "learned from labels" if learned else "clusters were matched to classes with labels",
    }
