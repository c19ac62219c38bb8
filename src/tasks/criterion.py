"""The losses that DenseSiam minimises for two views of each image, in the order of sections 3 and 4 of the paper."""

from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor

from src.checks import check_choice, check_flag, check_number
from src.losses import (
    DISTANCES,
    WEIGHTINGS,
    Weighting,
    category_counts,
    category_weights,
    contrastive_region_loss,
    cosine_distance,
    segmentation_loss,
    similarity_loss,
)
from src.models.siamese import View

RegionLoss = Literal["contrastive", "similarity"]


class Criterion:
    """Computes the losses between two views: each loss for which the network has put its inputs into the views.

    Args:
        distance: the distance between pixels (Eq. 2, 3), one of `src.losses.DISTANCES`.
        stop_gradient: whether the target side of Eq. 1 receives no gradient; it applies to images, to pixels and to
            `region_loss=similarity`.
        region_loss: `contrastive` (Eq. 5 and 6) or `similarity` (Eq. 1 with cosine on the regions).
        region_temperature, region_normalise, region_stop_gradient: see `contrastive_region_loss`.
        seg_weighting: how the categories are weighted in L_seg (section 4), see `category_weights`.

    Raises:
        DenseSiamError: a value is out of its range.
    """

    def __init__(
        self,
        distance: str,
        stop_gradient: bool,
        region_loss: RegionLoss,
        region_temperature: float,
        region_normalise: bool,
        region_stop_gradient: bool,
        seg_weighting: Weighting = "frequency",
    ) -> None:
        check_choice("task.criterion.distance", distance, DISTANCES)
        check_flag("task.criterion.stop_gradient", stop_gradient)
        check_choice("task.criterion.region_loss", region_loss, get_args(RegionLoss))
        check_number("task.criterion.region_temperature", region_temperature, low=1e-4, high=1e4)
        check_flag("task.criterion.region_normalise", region_normalise)
        check_flag("task.criterion.region_stop_gradient", region_stop_gradient)
        check_choice("task.criterion.seg_weighting", seg_weighting, WEIGHTINGS)
        self.distance, self.stop_gradient = DISTANCES[distance], stop_gradient
        self.region_loss, self.region_temperature = region_loss, region_temperature
        self.region_normalise, self.region_stop_gradient = region_normalise, region_stop_gradient
        self.seg_weighting: Weighting = seg_weighting

    def __call__(
        self, first: View, second: View, valid: Tensor, mean_over_processes: Callable[[Tensor], Tensor]
    ) -> dict[str, Tensor]:
        """The unweighted losses of each image, (B,) each, under their names in `loss_weights`.

        Args:
            first, second: the outputs of the network for the two views.
            valid: (B,) bool, which images have an overlap; only these count for the weights of the categories in L_seg.
            mean_over_processes: averages a tensor over all processes; with one process, the identity.
        """
        losses: dict[str, Tensor] = {}
        if first.image and second.image:  # SimSiam's branch, Eq. 1 and 2
            losses["image"] = similarity_loss(*first.image, *second.image, cosine_distance, self.stop_gradient)
        if first.dense and second.dense:  # PixSim, Eq. 1 and 3
            losses["dense"] = similarity_loss(*first.dense, *second.dense, self.distance, self.stop_gradient)
        if first.aux and second.aux:  # PixSim with more categories, section 4
            losses["aux"] = similarity_loss(*first.aux, *second.aux, self.distance, self.stop_gradient)
        if first.seg is not None and second.seg is not None:  # L_seg, section 4
            losses["seg"] = 0.5 * self.seg(first.seg, valid, mean_over_processes) + 0.5 * self.seg(
                second.seg, valid, mean_over_processes
            )
        if first.region and second.region:  # RegionSim, Eq. 5 and 6
            if self.region_loss == "contrastive":
                losses["region"] = contrastive_region_loss(
                    *first.region,
                    *second.region,
                    self.region_temperature,
                    self.region_normalise,
                    self.region_stop_gradient,
                )
            else:
                u1, v1, u2, v2 = (x.transpose(1, 2) for x in (*first.region, *second.region))  # (B, C, N)
                losses["region"] = similarity_loss(u1, v1, u2, v2, cosine_distance, self.stop_gradient)
        return losses

    def seg(self, z: Tensor, valid: Tensor, mean_over_processes: Callable[[Tensor], Tensor]) -> Tensor:
        """L_seg of one view, (B,), with the categories counted over all processes."""
        counts = mean_over_processes(category_counts(z, valid))
        return segmentation_loss(z, category_weights(counts, self.seg_weighting))
