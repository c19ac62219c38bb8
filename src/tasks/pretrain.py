"""Dense pre-training: Eq. 7 (paper sections 3.4 and 5.1)."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from PIL import Image
from torch import Tensor, nn

from src.checks import check_choice, check_flag, check_made
from src.clustering import NearestCentroid, fit_centroids
from src.errors import DenseSiamError
from src.evaluation.probing import ProbeSettings
from src.evaluation.protocol import EvaluationProtocol
from src.evaluation.scoring import Scoring
from src.metrics import Category
from src.models.dense import DenseFeatures
from src.models.segmentation import SegmentationNetwork
from src.models.siamese import DenseSiam
from src.optim import MakeOptimizer
from src.schedules import cosine
from src.tasks.criterion import Criterion
from src.tasks.pairs import checked_weight
from src.tasks.probes import fit_chosen, frozen_features, labelled_cells
from src.tasks.siamese import SiameseTask, used_losses

LOSSES = ("image", "dense", "region")
KMEANS = "k-means"


class Pretrain(SiameseTask):
    """Pre-trains an encoder on unlabelled images; with a probe set, each validation fits and scores two probes.

    The probes read only the features f, and give them no gradient. The linear probe learns from labels, and its scores
    are those of the task. k-means has as many clusters as there are classes; its scores are
    `extra_scorings["k-means"]`. Neither is fitted on cells that hold no pixel with a class.

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
        self.clustered = Scoring(classes, len(classes), protocol.matching)
        self.schedule, self.constant_predictor_lr, self.settings = schedule, constant_predictor_lr, linear_probe
        self.fitted: dict[str, nn.Module] = {}

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

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W), uint8 or float in [0, 1], to the linear probe's logits (B, classes, h, w)."""
        return self.probed(images, self.name)

    def probed(self, images: Tensor, probe: str) -> Tensor:
        """Logits of one of the fitted probes."""
        if probe not in self.fitted:
            raise RuntimeError("the probes are fitted when a validation begins")
        logits: Tensor = self.fitted[probe](frozen_features(self.network, images))
        return logits

    def deployed(self) -> SegmentationNetwork:
        raise DenseSiamError(
            "a pre-training run has learned no segmentation: take its encoder, "
            "python -m src.export ckpt_path=FILE output=encoder.pth, with format=torchvision, timm, detectron2 or "
            "safetensors"
        )

    def training_picture(self, count: int) -> Image.Image | None:
        return None  # the channels of pre-training's projector are no segmentation, and probes need labels

    def probed_network(self) -> DenseFeatures | None:
        return None

    @property
    def extra_scorings(self) -> dict[str, Scoring]:
        return {KMEANS: self.clustered}

    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()
        batches = self.given_data().labelled_dataloader()
        if batches is None:
            raise DenseSiamError(
                "pre-training is scored by probes, and probe=none gives them nothing to be fitted on: set "
                "probe=own_labels, probe=labelled_folder probe.root=DIR, or probe=unscored"
            )
        self.fit_probes(batches)
        for probe in self.fitted.values():
            self.broadcast_buffers(probe)

    def fit_probes(self, batches: Any) -> None:
        """Fit both probes on labelled images, {"image": (B, 3, H, W), "label": (B, h, w), "unreadable"} each."""
        classes, features = len(self.scoring.classes), partial(frozen_features, self.network)
        cells = labelled_cells(features, batches, classes, self.settings, self.device)
        linear = fit_chosen(cells, self.settings)
        centroids = fit_centroids(F.normalize(cells.features[cells.weight > 0], dim=1), classes, self.settings.seed)
        self.fitted = {
            self.name: linear,
            KMEANS: nn.Sequential(Normalised(), NearestCentroid(centroids)).to(self.device),
        }

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self.predict_and_update(self.clustered, lambda images: self.probed(images, KMEANS), batch)
        return super().validation_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        self.log_dict({f"kmeans_probe/{key}": value for key, value in self.clustered.compute().items()})


class Normalised(nn.Module):
    """Features scaled to length 1 at each place: (B, C, h, w) -> (B, C, h, w)."""

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize(features.float(), dim=1)
