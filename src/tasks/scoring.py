"""Validation, written once: logits to labels to one confusion matrix to scores."""

from collections.abc import Sequence
from typing import Any

import lightning
from torch import Tensor

from src.inference import predict_labels
from src.metrics import Category, ClusterMatchMetric, Matching, named_iou, release_block_scores


class ScoredModule(lightning.LightningModule):
    """A LightningModule that maps images to logits and is scored against labels by matching clusters to classes.

    Labels reach `validation_step` only.

    Args:
        classes: of the labels.
        num_clusters: channels of the logits.
        matching: see `src.metrics.match`.
        name: what the scores are logged under.

    Attributes:
        scores: of the last validation, in percent; empty before the first.

    Raises:
        DenseSiamError: fewer clusters than classes and a one-to-one matching.
    """

    def __init__(self, classes: Sequence[Category], num_clusters: int, matching: Matching, name: str) -> None:
        super().__init__()
        self.name = name
        self.metric = ClusterMatchMetric(classes, num_clusters, matching)
        self.scores: dict[str, float] = {}

    @property
    def protocol(self) -> dict[str, Any]:
        """How logits become scores, to be printed with them."""
        return {"prediction": "logits upsampled bilinearly, then argmax", "matching": self.metric.matching}

    def on_validation_epoch_start(self) -> None:
        self.metric.reset()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Count one batch {"image": (B, 3, H, W), "label": (B, H, W)}; returns the clusters (B, H, W)."""
        label = batch["label"]
        clusters = predict_labels(self(batch["image"]), (label.shape[1], label.shape[2]))
        self.metric.update(clusters, label)
        return clusters

    def on_validation_epoch_end(self) -> None:
        summary = self.metric.compute()
        self.log_dict({f"{self.name}/{key}": value for key, value in summary.items()})
        confusion, mapping, classes = self.metric.total, self.metric.mapping, self.metric.categories
        self.scores = summary | named_iou(confusion, mapping, classes) | release_numbers(self.metric)


def release_numbers(metric: ClusterMatchMetric) -> dict[str, float]:
    """`release_block_scores` where defined, that is for things before stuff and one cluster per class; else empty."""
    kinds = [category.kind for category in metric.categories]
    things = kinds.count("thing")
    in_order = kinds == ["thing"] * things + ["stuff"] * (len(kinds) - things) and 0 < things < len(kinds)
    if not in_order or metric.confusion.shape[1] != len(kinds) or metric.matching != "hungarian":
        return {}
    return release_block_scores(metric.total, metric.mapping, things)
