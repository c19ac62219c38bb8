"""Training on pairs of views: the step that all methods share, and the averages over all processes."""

import warnings
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.strategies import ParallelStrategy
from PIL import Image
from torch import Tensor, nn

from src.checks import check_number
from src.drawing.cluster_sheet import cluster_sheet
from src.errors import DenseSiamError
from src.evaluation.protocol import EvaluationProtocol
from src.evaluation.scoring import Scoring
from src.losses import valid_mean
from src.models.dense import DenseFeatures
from src.tasks.base import Data
from src.tasks.pixels import PixelTask
from src.tasks.showing import clusters_of, evaluating
from src.tasks.steps import convert_to_precision, image_names, weighted_losses

SHOWN_SIDE = 360  # longer side of a training image in a picture, in pixels
Embeddings = Mapping[str, tuple[Tensor, Tensor]]


class PairTask(PixelTask):
    """Trains a network on pairs of views; the subclass computes the losses.

    Args:
        network: encoder and neck, and other layers that learn.
        weights: the weight of each loss by name; a loss without an entry is never computed.
        scoring, protocol, name: see `PixelTask`.

    Raises:
        DenseSiamError: the cells of the encoder's maps do not cover the image, see `Encoder`.
        NotFiniteError: during training, a loss is not finite.
    """

    network: DenseFeatures

    def __init__(
        self,
        network: DenseFeatures,
        weights: Mapping[str, float],
        scoring: Scoring,
        protocol: EvaluationProtocol,
        name: str,
    ) -> None:
        super().__init__(scoring, protocol, name)
        if network.encoder.align_corners:
            raise DenseSiamError(
                "model.encoder.align_corners is true, but two views are compared at places of cells that cover the "
                "image: set it to false; task=semantic can have it"
            )
        self.network, self.weights = network, dict(weights)
        self.warned_of_one_colour = False

    def prepare(self, data: Data, images: Iterable[Tensor] | None = None) -> None:
        super().prepare(data, images)
        if images is not None:
            self.network.fit_neck(images)

    def pretrained_part(self) -> nn.Module:
        return self.network

    def probed_network(self) -> DenseFeatures | None:
        return self.network

    def compilable(self) -> list[nn.Module]:
        return [self.network.encoder.backbone, *self.network.heads()]

    def setup(self, stage: str) -> None:
        convert_to_precision(self)

    def training_picture(self, count: int) -> Image.Image | None:
        shown, only = self.given_data().spread_train_images(count, SHOWN_SIDE), self.network.encoder.size
        with evaluating(self), self.trainer.precision_plugin.forward_context():
            maps = [clusters_of(image, self, self.protocol, only, self.device) for image in shown]
        return cluster_sheet(list(zip(shown, maps, strict=True)), self.scoring.num_clusters)

    @abstractmethod
    def compare(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], Embeddings]:
        """Compare the two views of each image of a batch, see `src.data.views.TwoViews`.

        Returns:
            the unweighted losses that are active now, each a scalar, averaged over the images of all processes; and for
            each branch its outputs for both views, (B, ..., channels) each, without gradient.
        """

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """Return the weighted sum of the losses on a batch of view pairs, `loss`, and `embeddings`, see `compare`.

        The loss of a batch of a single colour is multiplied by 0, because nothing can be learned from it. Without
        differences in the batch the exact gradient of batch norm is 0, but the computed gradient consists of rounding
        errors, which each layer divides by the square root of its epsilon.
        """
        losses, embeddings = self.compare(batch)
        weighted, total = weighted_losses(self, losses, self.weights, batch["index"])
        if of_one_colour(batch["views"]):
            total = 0.0 * total
            if not self.warned_of_one_colour:
                said = f"at step {self.global_step} a whole batch is of one colour and counts nothing"
                warnings.warn(f"{said}: {image_names(self, batch['index'])}. This is said once", stacklevel=1)
            self.warned_of_one_colour = True
        self.log_dict({f"loss/{name}": value for name, value in losses.items()}, prog_bar=True, sync_dist=True)
        self.log_dict({f"weighted/{name}": value for name, value in weighted.items()}, sync_dist=True)
        self.log("loss/total", total, prog_bar=True, sync_dist=True)
        # Averaged over processes here: a progress bar computes the means of an epoch in process 0 alone, which would
        # then wait for the other processes without end.
        valid = batch["valid"]
        redrawn, invalid = self.mean_over_processes(torch.stack([batch["redrawn"] > 0, ~valid]).float().mean(1))
        shares = {"views/redrawn": redrawn, "views/invalid": invalid}
        self.log_dict(shares, on_step=False, on_epoch=True, batch_size=len(valid))
        if isinstance(self.trainer.strategy, ParallelStrategy):
            total = total + self.unused_parameters()
        return {"loss": total, "embeddings": embeddings}

    def unused_parameters(self) -> Tensor:
        """Zero times every parameter that learns; in the loss, it lets DDP find parameters that no loss uses now."""
        return 0.0 * torch.stack([p.sum() for p in self.network.parameters() if p.requires_grad]).sum()

    def mean_over_images(self, values: Tensor, counted: Tensor) -> Tensor:
        """Mean of values (B,) over the counted images (B,) of all processes."""
        return valid_mean(values, counted, self.mean_over_processes)

    def mean_over_processes(self, value: Tensor) -> Tensor:
        """Average over all processes; with one process, the value itself."""
        reduced: Tensor = self.trainer.strategy.reduce(value.clone(), reduce_op="mean")
        return reduced


def of_one_colour(views: Sequence[Tensor]) -> bool:
    """Whether all pixels of all images (B, C, H, W) have the same colour."""
    colour = views[0][:1, :, :1, :1]
    alike = (bool((part == colour).all()) for part in (views[0][:1], *views))  # often the first image decides
    return all(alike)


def resolved_weights(
    loss_weights: Mapping[str, float | str], used: Collection[str], balanced: Mapping[str, float]
) -> dict[str, float]:
    """The weights, as numbers, of the losses that are used, by name.

    Args:
        loss_weights: the weights as the user gave them.
        used: the names of the losses that are used.
        balanced: the weight that `balanced` stands for, for each loss that may have it.

    Raises:
        DenseSiamError: a weight is neither a number from 0 nor, where that is allowed, `balanced`.
    """
    otherwise = f"or 'balanced' for {' and '.join(balanced)}"
    return {
        name: balanced[name]
        if loss_weights[name] == "balanced" and name in balanced
        else checked_weight(name, loss_weights[name], otherwise)
        for name in sorted(used)
    }


def checked_weight(name: str, weight: Any, otherwise: str = "") -> float:
    """Check that the weight of a loss is a finite number from 0.

    Args:
        name: the name of the loss.
        weight: the value as the user gave it.
        otherwise: the other values that are allowed, in words for the message.

    Raises:
        DenseSiamError: the weight is negative, not finite or no number.
    """
    check_number(f"task.loss_weights.{name}", weight, low=0, otherwise=otherwise)
    return float(weight)
