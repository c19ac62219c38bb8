"""Validation, written once: logits to labels to confusion matrices to scores."""

from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from src.errors import DenseSiamError
from src.evaluation.inference import mirror_averaged, predict_labels
from src.evaluation.protocol import Protocol
from src.evaluation.scoring import Scored, Scoring
from src.metrics import release_block_scores


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
            things = sum(category.kind == "thing" for category in self.scoring.classes)
            self.scoring.scores |= release_block_scores(self.scoring.total, self.scoring.mapping, things)


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
