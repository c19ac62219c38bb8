"""Fine-tuning of object detectors: Faster R-CNN and Mask R-CNN."""

from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image
from torch import Tensor, nn

from src.checks import check_made
from src.drawing.boxes import detection_sheet
from src.errors import DenseSiamError
from src.evaluation.bootstrap import Interval
from src.evaluation.detection_protocol import DetectionProtocol
from src.evaluation.detection_scoring import DetectionScoring
from src.evaluation.scoring import Scored
from src.metrics import Category
from src.models.detection import DetectionNetwork
from src.optim import MakeOptimizer
from src.schedules import MakeSchedule
from src.tasks.base import Task
from src.tasks.finetuning import TRAINED_ON_LABELS, FineTuning, check_learning
from src.tasks.steps import convert_to_precision, drawn_from, enough_for_batch_norm, weighted_losses

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")
Detections = dict[str, Tensor]


class Detect(FineTuning, Task):
    """Trains a detector on boxes, and on masks if its network predicts them.

    The loss is the sum of torchvision's losses: `objectness` and `rpn_box_reg` of the proposals, `classifier` and
    `box_reg` of the regions, and `mask`. Images without objects train as background.

    Args:
        network: makes the network, given `num_classes`, `side` and `longest`.
        classes: the classes of the labels.
        optimizer, schedule, seed: see `FineTuning`.
        protocol: the size of the images that are scored, and how detections are scored.

    Raises:
        DenseSiamError: a value is something else; or the run has a precision whose numbers are not float32.
        NotFiniteError: during training, the loss is not finite.
    """

    primary_metric = "AP"
    decays_norms = False  # detectron2's WEIGHT_DECAY_NORM is 0
    network: DetectionNetwork

    def __init__(
        self,
        network: Callable[..., DetectionNetwork],
        classes: Sequence[Category],
        optimizer: MakeOptimizer,
        schedule: MakeSchedule | None,
        seed: int,
        protocol: DetectionProtocol,
    ) -> None:
        super().__init__("detector")
        check_made("task.network", network, callable, "model=faster_rcnn")
        check_made("protocol", protocol, DetectionProtocol, "protocol=voc_detection")
        check_learning(optimizer, schedule, seed)
        self.classes, self.optimizer, self.schedule, self.seed = tuple(classes), optimizer, schedule, seed
        self.protocol = protocol
        self.network = network(num_classes=len(self.classes), side=protocol.side, longest=protocol.longest)
        self.scoring = DetectionScoring(self.classes, protocol, self.network.has_masks)

    def setup(self, stage: str) -> None:
        precision = self.trainer.precision
        if precision not in PRECISIONS:
            raise DenseSiamError(
                f"trainer.precision is {precision}: boxes need float32; choose one of {', '.join(PRECISIONS)}"
            )
        convert_to_precision(self)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The sum of the losses on a batch, see `DetectionNetwork.losses`."""
        index = batch["index"]
        with drawn_from(self.seed, self.global_step, index), enough_for_batch_norm(len(index)):
            losses = self.network.losses(batch["image"], batch["label"])
        _, total = weighted_losses(self, losses, dict.fromkeys(losses, 1.0), index)
        logged = {f"loss/{name}": value for name, value in losses.items()}
        self.log_dict(logged, prog_bar=True, sync_dist=True, batch_size=len(index))
        self.log("loss/total", total, prog_bar=True, sync_dist=True, batch_size=len(index))
        return total

    def training_forward(self, batch: dict[str, Any]) -> None:
        with drawn_from(self.seed, self.global_step, batch["index"]):
            self.network.losses(batch["image"], batch["label"])

    def on_validation_epoch_start(self) -> None:
        self.broadcast_buffers(self)
        self.scoring.reset()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> Any:  # Lightning hands any object on
        """Count a batch; returns the detections of its images, see `DetectionNetwork.forward`."""
        found = self.network(batch["image"])
        self.scoring.update(found, batch["label"], batch["index"])
        return found

    def on_validation_epoch_end(self) -> None:
        summary = self.scoring.compute()
        self.log_dict({f"{self.name}/{key}": value for key, value in summary.items()})

    def results(self) -> dict[str, Scored]:
        return {"": self.scoring.scored(self.protocol.resamples)}

    def scored_on(self) -> dict[str, Any]:
        return {**self.scoring.counted(), **self.protocol.describe(), **TRAINED_ON_LABELS}

    def difference(self, other: Task) -> dict[str, Interval]:
        if not isinstance(other, Detect):
            raise DenseSiamError(f"{self.name} and {other.name} have different scores: expected two detectors")
        return self.scoring.difference(other.scoring, self.protocol.resamples)

    def picture(self, samples: Sequence[tuple[Any, ...]]) -> Image.Image:
        return detection_sheet(samples, [category.name for category in self.classes])

    def pretrained_part(self) -> nn.Module:
        """The backbone, under the names that weights of other runs have."""
        return nn.ModuleDict({"encoder": nn.ModuleDict({"backbone": self.network.backbone()})})

    def deployed(self) -> DetectionNetwork:
        return self.network
