"""Dense pre-training: Eq. 7 (paper sections 3.4 and 5.1)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from lightning.pytorch.utilities.types import OptimizerLRScheduler
from PIL import Image

from src.checks import check_choice, check_flag, check_made
from src.errors import DenseSiamError
from src.evaluation.probing import ProbeSettings
from src.evaluation.protocol import EvaluationProtocol
from src.evaluation.scoring import Scoring
from src.metrics import Category
from src.models.segmentation import SegmentationNetwork
from src.models.siamese import DenseSiam
from src.optim import MakeOptimizer
from src.schedules import cosine
from src.tasks.criterion import Criterion
from src.tasks.pairs import checked_weight
from src.tasks.probed_features import ProbedFeatures, Probes
from src.tasks.siamese import SiameseTask, used_losses

LOSSES = ("image", "dense", "region")


class Pretrain(ProbedFeatures, SiameseTask):
    """Pre-trains an encoder on unlabelled images; with a probe set, each validation fits and scores two probes.

    The probes are linear and k-means, see `ProbedFeatures`.

    Args:
        network: makes the network, given the losses that this run can use.
        classes: the classes of the probe set; empty without a probe set.
        loss_weights: the weights of Eq. 7: `image` for the image-level branch, `dense` for lambda_1 and `region` for
            lambda_2.
        schedule: how the learning rate changes, `cosine` per step or `constant`.
        constant_predictor_lr: whether the predictors keep their learning rate while the other parts follow the cosine,
            as in SimSiam's own recipe; it has no effect with a constant schedule.
        criterion, region_start, optimizer: see `SiameseTask`.
        linear_probe: how the probes are fitted.
        protocol: how the predictions are scored; its `matching` applies to k-means.

    Raises:
        DenseSiamError: a loss, a weight or the schedule is unknown, or no loss can be active.
        NotFiniteError: during training, a loss is not finite.
    """

    network: DenseSiam

    def __init__(
        self,
        network: Callable[..., DenseSiam],
        classes: Sequence[Category],
        loss_weights: Mapping[str, float],
        schedule: Literal["cosine", "constant"],
        constant_predictor_lr: bool,
        criterion: Criterion,
        region_start: float | None,
        optimizer: MakeOptimizer,
        linear_probe: ProbeSettings,
        protocol: EvaluationProtocol,
    ) -> None:
        check_choice("task.schedule", schedule, ("cosine", "constant"))
        check_flag("task.constant_predictor_lr", constant_predictor_lr)
        check_made("task.linear_probe", linear_probe, ProbeSettings, "task=pretrain")
        check_made("task.network", network, callable, "model=pretraining")
        model = network(losses=used_losses(loss_weights, region_start, LOSSES))
        weights = {name: checked_weight(name, loss_weights[name]) for name in sorted(model.losses)}
        if not weights:
            raise DenseSiamError(
                f"grid_size is {model.grid_size} and the image loss has no weight, so nothing is left to train on: set "
                "model.grid_size=7 or task.loss_weights.image=1"
            )
        scoring = Scoring(classes, len(classes), "identity")
        super().__init__(model, weights, criterion, region_start, optimizer, scoring, protocol, name="linear_probe")
        self.probes = Probes(classes, linear_probe, protocol.matching)
        self.schedule, self.constant_predictor_lr = schedule, constant_predictor_lr

    def configure_optimizers(self) -> OptimizerLRScheduler:
        named = list(self.network.named_parameters())
        predictors, others = ([one for name, one in named if (".predictor." in name) is side] for side in (True, False))
        optimizer = self.optimizer([{"params": others}, {"params": predictors}])
        if self.schedule == "constant":
            return optimizer
        steps = self.trainer.estimated_stepping_batches
        if steps == float("inf"):
            raise DenseSiamError("the cosine needs an end: set trainer.max_epochs, or task.schedule=constant")
        scheduler = cosine(optimizer, int(steps), constant=(False, self.constant_predictor_lr))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def deployed(self) -> SegmentationNetwork:
        raise DenseSiamError(
            "a pre-training run has learned no segmentation: take its encoder, "
            "python -m src.export ckpt_path=FILE output=encoder.pth, with format=torchvision, timm, detectron2 or "
            "safetensors"
        )

    def training_picture(self, count: int) -> Image.Image | None:
        return None  # the channels of pre-training's projector are no segmentation, and probes need labels
