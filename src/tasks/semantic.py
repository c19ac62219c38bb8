"""Supervised semantic segmentation: an FCN is fine-tuned on labels (transfer, Table 2)."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy, deepcopy
from typing import Any

from torch import Tensor, nn

from src.checks import check_keys, check_made
from src.errors import DenseSiamError
from src.evaluation.protocol import EvaluationProtocol
from src.evaluation.scoring import Scoring
from src.losses import pixel_cross_entropy
from src.metrics import Category
from src.models.dense import DenseFeatures
from src.models.fcn import FCN
from src.models.segmentation import SegmentationNetwork
from src.optim import MakeOptimizer
from src.schedules import MakeSchedule
from src.tasks.finetuning import TRAINED_ON_LABELS, FineTuning, check_learning
from src.tasks.pairs import checked_weight
from src.tasks.pixels import PixelTask
from src.tasks.steps import convert_to_precision, drawn_from, enough_for_batch_norm, weighted_losses


class Semantic(FineTuning, PixelTask):
    """Trains an FCN by cross entropy on the labels of its training images; its channels are the classes.

    Args:
        network: makes the network, given the number of classes and whether it has an auxiliary head.
        classes: the classes of the labels.
        loss_weights: the weights of the losses of both heads, `main` and `aux`; without an auxiliary head, `aux` is 0.
        optimizer, schedule, seed: see `FineTuning`.
        protocol: how the predictions are scored; its matching is not used, because nothing is matched.

    Raises:
        DenseSiamError: a weight is out of its range, there are no classes, or the protocol scores another head.
        NotFiniteError: during training, a loss is not finite.
    """

    network: FCN

    def __init__(
        self,
        network: Callable[..., FCN],
        classes: Sequence[Category],
        loss_weights: Mapping[str, float],
        optimizer: MakeOptimizer,
        schedule: MakeSchedule | None,
        seed: int,
        protocol: EvaluationProtocol,
    ) -> None:
        check_made("task.network", network, callable, "model=fcn")
        check_learning(optimizer, schedule, seed)
        check_keys("task.loss_weights", loss_weights, ("main", "aux"))
        weights = {name: checked_weight(name, loss_weights[name]) for name in ("main", "aux")}
        if not classes:
            raise DenseSiamError(
                "task=semantic learns from labels, and the data has none: choose labelled data, such as "
                "data=labelled_folder data.root=DIR"
            )
        if protocol.head != "main":
            raise DenseSiamError(
                f"protocol.head is {protocol.head!r}: the auxiliary head of an FCN is for training only; score "
                "protocol.head=main"
            )
        unmatched = copy(protocol)
        unmatched.release_blocks = False  # the release computes them for matched clusters only
        super().__init__(Scoring(classes, len(classes), "identity"), unmatched, "semantic")
        self.classes, self.optimizer, self.schedule, self.seed = tuple(classes), optimizer, schedule, seed
        self.weights = {name: weight for name, weight in weights.items() if name == "main" or weight}
        self.network = network(num_classes=len(classes), has_aux="aux" in self.weights)

    @property
    def align_corners(self) -> bool:
        return self.network.encoder.align_corners

    def setup(self, stage: str) -> None:
        convert_to_precision(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W), uint8 or float in [0, 1], to the logits (B, C, h, w) of the classes."""
        logits: Tensor = self.network(images)
        return logits

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """The weighted sum of the losses on {"image": (B, 3, h, w), "label": (B, h, w), "index": (B,)}, as `loss`."""
        label = batch["label"]
        with drawn_from(self.seed, self.global_step, batch["index"]), enough_for_batch_norm(len(label)):
            logits = self.network.both(batch["image"])
        losses = {name: pixel_cross_entropy(found, label, self.align_corners) for name, found in logits.items()}
        weighted, total = weighted_losses(self, losses, self.weights, batch["index"])
        size = len(label)
        self.log_dict({f"loss/{name}": value for name, value in losses.items()}, sync_dist=True, batch_size=size)
        self.log_dict({f"weighted/{name}": value for name, value in weighted.items()}, sync_dist=True, batch_size=size)
        self.log("loss/total", total, prog_bar=True, sync_dist=True, batch_size=size)
        return {"loss": total}

    def pretrained_part(self) -> nn.Module:
        return self.network

    def probed_network(self) -> DenseFeatures | None:
        """The network; with cells that cover the image, as a probe reads them, whatever the heads read."""
        if not self.align_corners:
            return self.network
        probed = deepcopy(self.network)
        probed.encoder.align_corners = False
        return probed

    def scored_on(self) -> dict[str, Any]:
        return super().scored_on() | {"matching": "none, the network predicts classes"} | TRAINED_ON_LABELS

    def deployed(self) -> SegmentationNetwork:
        """The network without its auxiliary head."""
        return SegmentationNetwork(self.network, {"main": self.network.head}, {"main": len(self.classes)})
