"""Tasks that predict one category per pixel, and how their logits become predictions, confusion matrices and scores."""

from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from src.drawing.contact_sheet import contact_sheet
from src.errors import DenseSiamError
from src.evaluation.bootstrap import Interval, paired_difference
from src.evaluation.inference import predict_labels, protocol_logits
from src.evaluation.matched import Matched, matched_by
from src.evaluation.protocol import EvaluationProtocol
from src.evaluation.scoring import Scored, Scoring
from src.metrics import release_block_scores
from src.tasks.base import Task


class PixelTask(Task):
    """A task that maps images to logits; it is scored against labels after its categories are matched to classes.

    Only `validation_step` reads labels.

    Args:
        scoring: counts the predictions against the labels.
        protocol: how images are predicted and categories are matched.
        name: the name under which the scores are logged.

    Raises:
        DenseSiamError: the scores of the release are requested, but they don't exist for these classes and categories.
    """

    primary_metric = "mIoU"

    def __init__(self, scoring: Scoring, protocol: EvaluationProtocol, name: str) -> None:
        super().__init__(name)
        clusters, classes = scoring.num_clusters, len(scoring.classes)
        if protocol.release_blocks and classes and (scoring.matching != "hungarian" or clusters != classes):
            raise DenseSiamError(
                f"the release's numbers need one cluster per class, matched one to one: found {clusters} clusters, "
                f"{classes} classes and matching={scoring.matching}; set protocol=paper"
            )
        self.scoring, self.protocol = scoring, protocol
        self.validated_step: int | None = None  # the step at which the last validation was

    @property
    def extra_scorings(self) -> dict[str, Scoring]:
        """What counts the other predictions that the task makes in a validation, by their names."""
        return {}

    @property
    def align_corners(self) -> bool:
        """Whether the corner cells of its logits lie on the corner pixels of images."""
        return False

    def on_validation_epoch_start(self) -> None:
        self.broadcast_buffers(self)
        for scoring in (self.scoring, *self.extra_scorings.values()):
            scoring.reset()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Count a batch {"image": (B, 3, H, W), "label": (B, h, w), "index": (B,)}; returns the clusters (B, h, w)."""
        return self.predict_and_update(self.scoring, self, batch)

    def predict_and_update(
        self, scoring: Scoring, logits_of: Callable[[Tensor], Tensor], batch: dict[str, Any]
    ) -> Tensor:
        """Predict a batch by the protocol and count it; returns the clusters (B, h, w)."""
        images, label = batch["image"], batch["label"]
        logits = protocol_logits(logits_of, images, self.protocol, self.align_corners)
        clusters = predict_labels(logits, (label.shape[1], label.shape[2]), self.align_corners)
        scoring.update(clusters, label, batch["index"])
        return clusters

    def on_validation_epoch_end(self) -> None:
        summary = self.scoring.compute()
        self.log_dict({f"{self.name}/{key}": value for key, value in summary.items()})
        if self.protocol.release_blocks:
            things = sum(category.kind == "thing" for category in self.scoring.classes)
            self.scoring.scores |= release_block_scores(self.scoring.total, self.scoring.mapping, things)

        self.validated_step = self.global_step

    def matched(self) -> Matched | None:
        return matched_by(self.scoring, self.protocol.head)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save which class each cluster was matched to, if just these weights were validated."""
        matched = self.matched() if self.validated_step == self.global_step else None
        checkpoint["matched"] = None if matched is None else matched.plain()

    def remarks(self) -> list[str]:
        return list(filter(None, [self.scoring.surplus()]))

    def results(self) -> dict[str, Scored]:
        scorings = {"": self.scoring, **self.extra_scorings}
        return {name: scoring.scored(self.protocol.resamples) for name, scoring in scorings.items()}

    def scored_on(self) -> dict[str, Any]:
        return {**self.scoring.image_matrices().counted(), **self.protocol.describe()}

    def difference(self, other: Task) -> dict[str, Interval]:
        if not isinstance(other, PixelTask):
            raise DenseSiamError(f"{self.name} and {other.name} have different scores: expected two of the same kind")
        own, others = self.scoring.image_matrices(), other.scoring.image_matrices()
        return paired_difference(own, others, self.protocol.resamples)

    def picture(self, samples: Sequence[tuple[Tensor, ...]]) -> Image.Image:
        rows = [(image, label, self.scoring.mapping[clusters]) for image, label, clusters in samples]
        return contact_sheet(rows, [category.name for category in self.scoring.classes])
