"""Loads a trained network for use."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.checkpoints.loading import load_deployed, part_of
from src.checkpoints.provenance import file_hash
from src.checkpoints.reading import check_plain
from src.checks import check_int
from src.errors import DenseSiamError
from src.evaluation.matched import Matched, read_matched
from src.evaluation.protocol import LARGEST
from src.models.segmentation import segmenting
from src.prediction.segmenter import Segmenter
from src.regular import read_text
from src.stored_classes import read_plain_classes


def load(path: str | Path, gradients: bool = False, scores: str | Path | None = None) -> Segmenter:
    """Load a trained network for use.

    Args:
        path: a checkpoint of a segmentation run. It may come from a stranger, see docs/checkpoints.md.
        gradients: whether the weights require gradients, to train them further.
        scores: a `scores.json` that `src.evaluate` has written for this checkpoint: the clusters get the names of the
            classes that they were matched to. None for the names in the checkpoint, if there are any.

    Raises:
        DenseSiamError: see `load_deployed`; or a matching is damaged or is that of another checkpoint.
    """
    check_path(path)
    deployed, checkpoint = load_deployed(path)
    network = segmenting(deployed, str(path))
    if scores is None:
        source, matched = path, stored_matching(checkpoint, path)
    else:
        source, matched = scores, matching_in(Path(scores), path)
    if matched is not None and len(matched.class_of_cluster) != network.num_categories.get(matched.head):
        raise DenseSiamError(f"the matching in {source} does not fit the network: expected one class per cluster")
    network.requires_grad_(gradients)
    config = checkpoint["config"]
    side: Any = part_of(config, "protocol", path).get("side")
    if not isinstance(side, int):  # `own`
        side = part_of(part_of(config, "data", path), "views", path).get("size")
        check_int(f"data.views.size in {path}", side, 1, LARGEST)
    return Segmenter(network, side, matched)


def check_path(path: Any) -> None:
    """Refuse what can't be the path of a checkpoint.

    Raises:
        DenseSiamError: it is no path, or that of a folder.
    """
    if not isinstance(path, str | os.PathLike):
        raise DenseSiamError(f"found {type(path).__name__} in place of a checkpoint: expected the path of a file")
    if Path(path).is_dir():
        inside = Path(path, "checkpoints", "last.ckpt")
        raise DenseSiamError(f"{path} is a folder: expected a checkpoint, such as {inside}")


def stored_matching(checkpoint: Mapping[str, Any], path: str | Path) -> Matched | None:
    """The classes of the categories in a checkpoint, which may come from a stranger; None if labels gave them none.

    Args:
        checkpoint: its content: `classes` of a network that was trained on labels, whose categories are the classes; or
            else `matched`, what a scoring has matched.
        path: the file, for messages.

    Raises:
        DenseSiamError: the values are damaged, or not plain.
    """
    learned = checkpoint.get("classes")
    if learned is None:
        return _matching(checkpoint.get("matched"), path)
    check_plain(learned)
    classes = read_plain_classes(learned, str(path))
    return Matched("main", "identity", classes, range(len(classes)), ())


def _matching(content: Any, source: str | Path) -> Matched | None:
    if content is None:
        return None
    check_plain(content)
    return read_matched(content, str(source))


def matching_in(scores: Path, checkpoint: str | Path) -> Matched | None:
    """The matching in a `scores.json` of an evaluation.

    Raises:
        DenseSiamError: the file can't be read, has no matching, or is about another checkpoint.
    """
    expected = f"expected the scores.json of python -m src.evaluate ckpt_path={checkpoint}"
    try:
        document = json.loads(read_text(scores))
        content, scored = document["matched"], document["origin"]["checkpoint"]["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DenseSiamError(f"can't read {scores} ({type(error).__name__}): {expected}") from error
    if scored != file_hash(checkpoint):
        raise DenseSiamError(f"{scores} is about another checkpoint: {expected}")
    return _matching(content, scores)
