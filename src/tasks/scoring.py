"""Validation, written once: logits to labels to confusion matrices to scores."""

from collections.abc import Callable, Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from src.errors import DenseSiamError
from src.inference import mirror_averaged, predict_labels
from src.intervals import ImageMatrices, PerImage, bootstrap
from src.metrics import AnyMatching, Category, ClusterMatchMetric, named_iou, release_block_scores
from src.protocol import Protocol
from src.scores import Scored


class Scoring(nn.Module):
    """Predictions of one kind against labels: their confusion matrices, whole and by image, and their scores.

    Args:
        classes: of the labels; none where there are no labels.
        num_clusters: that are predicted.
        matching: of clusters to classes.

    Attributes:
        scores: of the last validation, in percent; empty before the first.
        matrices: of each image of the last validation; None before the first.
    """

    def __init__(self, classes: Sequence[Category], num_clusters: int, matching: AnyMatching) -> None:
        super().__init__()
        self.classes, self.num_clusters, self.matching = tuple(classes), num_clusters, matching
        self.metric = ClusterMatchMetric(classes, num_clusters, matching)
        self.per_image = PerImage(classes, num_clusters, matching)
        self.scores: dict[str, float] = {}
        self.matrices: ImageMatrices | None = None

    def surplus(self) -> str:
        """What to say where one-to-one matching leaves clusters without a class; nothing elsewhere."""
        left = self.num_clusters - len(self.classes)
        if not self.classes or self.matching != "hungarian" or left <= 0:
            return ""
        return (
            f"{self.num_clusters} pseudo-categories for {len(self.classes)} classes: {left} match none, their pixels "
            f"count as wrong; model.num_categories={len(self.classes)} has one for each, protocol.matching=majority "
            "matches all"
        )

    def reset(self) -> None:
        """Forget what was counted; the last scores stay."""
        self.metric.reset()
        self.per_image.reset()

    def update(self, clusters: Tensor, label: Tensor, index: Tensor) -> None:
        """Count clusters (B, h, w) against labels (B, h, w) of the images with these numbers (B,)."""
        self.metric.update(clusters, label)
        self.per_image.update(clusters, label, index)

    def compute(self) -> dict[str, float]:
        """Scores without those of each class; a collective call.

        Raises:
            DenseSiamError: no pixel was counted.
        """
        summary = self.metric.compute()
        if not self.metric.total.any():
            raise DenseSiamError(
                "no pixel was scored: expected readable images whose labels are not 255 throughout; "
                "unreadable.txt in the run's folder names those that were skipped"
            )
        self.matrices = self.per_image.compute()
        self.scores = summary | named_iou(self.metric.total, self.metric.mapping, self.classes)
        return summary

    def scored(self, resamples: int) -> Scored:
        """The last scores with their bootstrap intervals, see `bootstrap`.

        Raises:
            RuntimeError: before the first validation.
        """
        if self.matrices is None:
            raise RuntimeError("nothing has been validated")
        return Scored(dict(self.scores), bootstrap(self.matrices, resamples))


class ScoredModule(lightning.LightningModule):
    """A LightningModule that maps images to logits and is scored against labels by matching clusters to classes.

    Labels reach `validation_step` only.

    Args:
        scoring: of its logits' channels.
        protocol: of prediction and matching.
        name: what the scores are logged under.

    Raises:
        DenseSiamError: fewer clusters than classes and a one-to-one matching; the release's numbers are asked for where
            they don't exist.
    """

    def __init__(self, scoring: Scoring, protocol: Protocol, name: str) -> None:
        super().__init__()
        clusters, classes = scoring.num_clusters, len(scoring.classes)
        if protocol.release_blocks and classes and (scoring.matching != "hungarian" or clusters != classes):
            raise DenseSiamError(
                f"the release's numbers need one cluster per class, matched one to one: found {clusters} clusters, "
                f"{classes} classes and matching={scoring.matching}; set protocol=paper"
            )
        self.scoring, self.protocol, self.name = scoring, protocol, name

    @property
    def further(self) -> dict[str, Scoring]:
        """Of other predictions of the module, by what they are called."""
        return {}

    def on_validation_epoch_start(self) -> None:
        self.share(self)
        for scoring in (self.scoring, *self.further.values()):
            scoring.reset()

    def share(self, module: nn.Module) -> None:
        """Give every process the first one's buffers, such as batch norm's statistics; a collective call.

        DDP does so before a training step, but a validation begins after one. All must predict alike, or a cluster is
        not the same cluster everywhere.
        """
        if self.trainer.world_size > 1:
            for buffer in module.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Count a batch {"image": (B, 3, H, W), "label": (B, h, w), "index": (B,)}; returns the clusters (B, h, w)."""
        return self.count(self.scoring, self, batch)

    def count(self, scoring: Scoring, logits_of: Callable[[Tensor], Tensor], batch: dict[str, Any]) -> Tensor:
        """Predict a batch as the protocol says and count it; returns the clusters (B, h, w)."""
        images, label = batch["image"], batch["label"]
        logits = mirror_averaged(logits_of, images) if self.protocol.flip else logits_of(images)
        clusters = predict_labels(logits, (label.shape[1], label.shape[2]))
        scoring.update(clusters, label, batch["index"])
        return clusters

    def on_validation_epoch_end(self) -> None:
        summary = self.scoring.compute()
        self.log_dict({f"{self.name}/{key}": value for key, value in summary.items()})
        if self.protocol.release_blocks:
            metric = self.scoring.metric
            things = sum(category.kind == "thing" for category in metric.categories)
            self.scoring.scores |= release_block_scores(metric.total, metric.mapping, things)


def is_scored(trainer: lightning.Trainer, data: Any) -> bool:
    """Whether there are labelled images, and `trainer.limit_val_batches` leaves some of them."""
    return data.val is not None and trainer.limit_val_batches != 0


def score(trainer: lightning.Trainer, module: ScoredModule, data: Any, label: str) -> dict[str, Scored]:
    """Validate a module on data: a row under this label, and one for everything else of it that is scored.

    Raises:
        DenseSiamError: there is nothing to score.
    """
    if not is_scored(trainer, data):
        raise DenseSiamError("nothing would be scored: expected labels, and trainer.limit_val_batches above 0")
    trainer.validate(module, data, verbose=False)
    scorings = {label: module.scoring, **{f"{label}, {name}": each for name, each in module.further.items()}}
    return {name: each.scored(module.protocol.resamples) for name, each in scorings.items()}
