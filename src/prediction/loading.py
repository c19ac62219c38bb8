"""Loads a trained network for use."""

from pathlib import Path

from src.checkpoints.loading import load_deployed, part_of
from src.checkpoints.reading import check_plain
from src.errors import DenseSiamError
from src.evaluation.matched import Matched, read_matched
from src.prediction.segmenter import Segmenter


def load(path: str | Path, gradients: bool = False) -> Segmenter:
    """Load a trained network for use.

    Args:
        path: a checkpoint of a segmentation run. It may come from a stranger, see docs/checkpoints.md.
        gradients: whether the weights require gradients, to train them further.

    Raises:
        DenseSiamError: see `load_deployed`; or the matching in the checkpoint is damaged.
    """
    network, checkpoint = load_deployed(path)
    matched: Matched | None = None
    if checkpoint.get("matched") is not None:
        check_plain(checkpoint["matched"])
        matched = read_matched(checkpoint["matched"], str(path))
        if len(matched.class_of_cluster) != network.num_categories.get(matched.head):
            raise DenseSiamError(f"the matching in {path} does not fit its network: take another copy of the file")
    network.requires_grad_(gradients)
    config = checkpoint["config"]
    side = part_of(config, "protocol", path).get("side")
    if not isinstance(side, int):  # `own`
        side = part_of(part_of(config, "data", path), "views", path)["size"]
    return Segmenter(network, side, matched)
