"""Validation, written once: logits to labels to confusion matrices to scores."""

from collections.abc import Sequence
from typing import Any

import lightning
from torch import Tensor

from src.errors import DenseSiamError
from src.inference import mirror_averaged, predict_labels
from src.intervals import ImageMatrices, PerImage
from src.metrics import Category, ClusterMatchMetric, named_iou, release_block_scores
from src.protocol import Protocol


class ScoredModule(lightning.LightningModule):
    """A LightningModule that maps images to logits and is scored against labels by matching clusters to classes.

    Labels reach `validation_step` only.

    Args:
        classes: of the labels; none where there are no labels, and then it is never validated.
        num_clusters: channels of the logits.
        protocol: of prediction and matching.
        name: what the scores are logged under.

    Attributes:
        scores: of the last validation, in percent; empty before the first.
        matrices: of each image of the last validation; None before the first.

    Raises:
        DenseSiamError: fewer clusters than classes and a one-to-one matching; the release's numbers are asked for where
            they don't exist.
    """

    def __init__(self, classes: Sequence[Category], num_clusters: int, protocol: Protocol, name: str) -> None:
        super().__init__()
        if protocol.release_blocks and classes and (protocol.matching != "hungarian" or num_clusters != len(classes)):
            raise DenseSiamError(
                f"the release's numbers need one cluster per class, matched one to one: found {num_clusters} clusters, "
                f"{len(classes)} classes and matching={protocol.matching}; set protocol=paper"
            )
        self.name, self.protocol = name, protocol
        self.metric = ClusterMatchMetric(classes, num_clusters, protocol.matching)
        self.per_image = PerImage(classes, num_clusters, protocol.matching)
        self.scores: dict[str, float] = {}
        self.matrices: ImageMatrices | None = None

    def on_validation_epoch_start(self) -> None:
        self.metric.reset()
        self.per_image.reset()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Count a batch {"image": (B, 3, H, W), "label": (B, h, w), "index": (B,)}; returns the clusters (B, h, w)."""
        images, label = batch["image"], batch["label"]
        logits = mirror_averaged(self, images) if self.protocol.flip else self(images)
        clusters = predict_labels(logits, (label.shape[1], label.shape[2]))
        self.metric.update(clusters, label)
        self.per_image.update(clusters, label, batch["index"])
        return clusters

    def on_validation_epoch_end(self) -> None:
        summary = self.metric.compute()
        if not self.metric.total.any():
            raise DenseSiamError(
                "no pixel was scored: expected readable images whose labels are not 255 throughout; "
                "unreadable.txt in the run's folder names those that were skipped"
            )
        self.matrices = self.per_image.compute()
        self.log_dict({f"{self.name}/{key}": value for key, value in summary.items()})
        confusion, mapping, classes = self.metric.total, self.metric.mapping, self.metric.categories
        self.scores = summary | named_iou(confusion, mapping, classes)
        if self.protocol.release_blocks:
            things = sum(category.kind == "thing" for category in classes)
            self.scores |= release_block_scores(confusion, mapping, things)
