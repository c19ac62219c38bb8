"""What Faster R-CNN and Mask R-CNN share: proposals, pooling of regions, and predictions for them.

The values are those of detectron2 (`detectron2/config/defaults.py`), with which the transfer of self-supervised
backbones is measured; the code is torchvision's. Where it differs from detectron2:

- The loss of boxes is smooth L1 with beta 1/9; detectron2's is L1.
- Anchors have whole numbers.
- The predictors of boxes and masks have one row more, for the background.
- The targets of masks are read half a pixel of the trained image too far to the right and below, because torchvision's
  `project_masks_on_boxes` calls `roi_align` without `aligned`, although features are pooled with it (`AlignedPool`).
  They are fractions of covered pixels; detectron2's are 0 or 1, drawn from polygons.

torchvision's `RegionProposalNetwork` of the tested version keeps anchors that leave the image: its file has no test for
that, and each anchor gets a label. Versions that descend from maskrcnn-benchmark (`RPN.STRADDLE_THRESH: 0`) left such
anchors out of the losses, see torchvision's issue 1116. detectron2 keeps them too (`RPN.BOUNDARY_THRESH: -1`), because
objects at the border need them, and with a C4 backbone most anchors of 512 pixels leave an image of 800.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import roi_align
from torchvision.ops.poolers import LevelMapper

from src.checks import check_int, check_made, check_number
from src.errors import DenseSiamError
from src.models.encoder import Encoder

# A checkpoint may come from a stranger: its sizes must not fill the memory. detectron2's values are in brackets.
MOST_KEPT = 100_000  # proposals of a map before non-maximum suppression (12,000)
MOST_REGIONS = 10_000  # proposals or samples of an image (2,000)
MOST_DETECTIONS = 1000  # of an image; each may have a mask of its size (100)
MOST_SAMPLING = 32  # points along a side of a cell (0, which is as many as needed)
MOST_ANCHORS = 100  # at a place of a map (15)
LARGEST_ANCHOR = 8192  # pixels (512)
LARGEST_RATIO = 100  # height / width of an anchor, or width / height (2)


@dataclass(frozen=True)
class Proposals:
    """How the region proposal network is trained, and how many proposals it makes.

    Args:
        anchor_sizes: for each map, the sides of its square anchors in pixels.
        anchor_ratios: height / width of the anchors.
        kept_train, kept_test: proposals with the highest scores that enter non-maximum suppression, for each map.
        train, test: proposals of an image that are left after it.
        nms_iou: proposals that overlap a better one by more than this are dropped.
        foreground_iou, background_iou: an anchor that overlaps an object by at least the first is an object, one that
            overlaps all by less than the second is background; those between count nothing.
        samples: anchors of an image that the losses are computed on.
        foreground_share: the largest share of objects among them.

    Raises:
        DenseSiamError: a value is out of its range.
    """

    anchor_sizes: Sequence[Sequence[int]]
    anchor_ratios: Sequence[float]
    kept_train: int
    kept_test: int
    train: int
    test: int
    nms_iou: float
    foreground_iou: float
    background_iou: float
    samples: int
    foreground_share: float

    def __post_init__(self) -> None:
        check_lists(self.anchor_sizes, self.anchor_ratios)
        for name in ("kept_train", "kept_test"):
            check_int(f"model.proposals.{name}", getattr(self, name), 1, MOST_KEPT)
        for name in ("train", "test", "samples"):
            check_int(f"model.proposals.{name}", getattr(self, name), 1, MOST_REGIONS)
        for name in ("nms_iou", "foreground_iou", "background_iou", "foreground_share"):
            check_number(f"model.proposals.{name}", getattr(self, name), above=0, high=1)
        if self.background_iou > self.foreground_iou:
            raise DenseSiamError(
                f"model.proposals.background_iou is {self.background_iou} and foreground_iou {self.foreground_iou}: "
                "expected the first to be at most the second"
            )

    def network(self, channels: int, maps: int) -> RegionProposalNetwork:
        """The region proposal network for a number of maps (B, channels, h, w).

        Raises:
            DenseSiamError: there is not one list of anchor sizes for each map, or these have different lengths.
        """
        counts = {len(sizes) for sizes in self.anchor_sizes}
        if len(self.anchor_sizes) != maps or len(counts) != 1:
            raise DenseSiamError(
                f"model.proposals.anchor_sizes is {self.anchor_sizes}: expected {maps} lists of equal lengths, one for "
                "each map"
            )
        sizes = tuple(map(tuple, self.anchor_sizes))
        anchors = AnchorGenerator(sizes, (tuple(self.anchor_ratios),) * maps)
        return RegionProposalNetwork(
            anchors,
            Float32RPNHead(channels, anchors.num_anchors_per_location()[0]),
            fg_iou_thresh=self.foreground_iou,
            bg_iou_thresh=self.background_iou,
            batch_size_per_image=self.samples,
            positive_fraction=self.foreground_share,
            pre_nms_top_n={"training": self.kept_train, "testing": self.kept_test},
            post_nms_top_n={"training": self.train, "testing": self.test},
            nms_thresh=self.nms_iou,
        )


@dataclass(frozen=True)
class Regions:
    """How the predictions for regions are trained, and which of them are detections.

    Args:
        samples: regions of an image that the losses are computed on.
        foreground_share: the largest share of objects among them.
        foreground_iou: a region that overlaps an object by at least this is that object, otherwise background.
        sampling: points along each side of a pooled cell; 0 for as many as the region has cells of the map.
        min_score: detections with a lower score are dropped.
        nms_iou: detections that overlap a better one of their class by more than this are dropped.
        detections: the most detections of an image.

    Raises:
        DenseSiamError: a value is out of its range.
    """

    samples: int
    foreground_share: float
    foreground_iou: float
    sampling: int
    min_score: float
    nms_iou: float
    detections: int

    def __post_init__(self) -> None:
        limits = {"samples": (1, MOST_REGIONS), "sampling": (0, MOST_SAMPLING), "detections": (1, MOST_DETECTIONS)}
        for name, (low, high) in limits.items():
            check_int(f"model.regions.{name}", getattr(self, name), low, high)
        for name in ("foreground_share", "foreground_iou", "nms_iou"):
            check_number(f"model.regions.{name}", getattr(self, name), above=0, high=1)
        check_number("model.regions.min_score", self.min_score, low=0, below=1)

    def heads(self, pool: nn.Module, head: nn.Module, channels: int, num_classes: int, **mask: nn.Module) -> RoIHeads:
        """The predictions of class and box for regions.

        Args:
            pool: maps and boxes -> (regions, C, s, s).
            head: (regions, C, s, s) -> (regions, channels).
            channels: see `head`.
            num_classes: number of classes, without the background.
            mask: modules for masks, see torchvision's `RoIHeads`.
        """
        return RoIHeads(
            pool,
            head,
            Float32Predictor(channels, num_classes + 1),
            fg_iou_thresh=self.foreground_iou,
            bg_iou_thresh=self.foreground_iou,
            batch_size_per_image=self.samples,
            positive_fraction=self.foreground_share,
            bbox_reg_weights=None,  # torchvision's are detectron2's: 10, 10, 5, 5
            score_thresh=self.min_score,
            nms_thresh=self.nms_iou,
            detections_per_img=self.detections,
            **mask,
        )


class Maps(nn.Module):
    """Maps normalised images to the maps that proposals and regions are computed on, in float32, by name.

    torchvision makes anchors and boxes in the dtype of the maps: in bfloat16 they would be off by several pixels.

    Args:
        encoder: the encoder.
        pyramid: maps its maps {name: (B, C_i, h, w)} to others; None to use the last map alone.
    """

    def __init__(self, encoder: Encoder, pyramid: nn.Module | None = None) -> None:
        super().__init__()
        self.encoder, self.pyramid = encoder, pyramid

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = {str(number): level for number, level in enumerate(self.encoder.maps(images))}
        used = {"0": list(maps.values())[-1]} if self.pyramid is None else self.pyramid(maps)
        return {name: level.float() for name, level in used.items()}


class AlignedPool(nn.Module):
    """RoIAlign with half a pixel's shift (`aligned=True`), detectron2's `ROIAlignV2`.

    torchvision's `MultiScaleRoIAlign` does not offer this shift, and reads each map half a cell too far to the right
    and below. Like there, a region reads the map that equation 1 of the FPN paper gives for its size.

    Args:
        strides: stride of each map, in the order of the maps, each twice the one before.
        size: rows and columns of the result.
        sampling: see `Regions`.
    """

    def __init__(self, strides: Sequence[int], size: int, sampling: int) -> None:
        super().__init__()
        self.strides, self.size, self.sampling = tuple(strides), size, sampling
        levels = [stride.bit_length() - 1 for stride in self.strides]
        self.level_of = LevelMapper(levels[0], levels[-1])

    def forward(self, maps: Mapping[str, Tensor], boxes: list[Tensor], image_shapes: Any) -> Tensor:
        """Pool maps {name: (B, C, h, w)}, finest first, at the boxes (n_i, 4) of B images: (sum of n_i, C, s, s)."""
        numbers = torch.cat([one.new_full((len(one), 1), number) for number, one in enumerate(boxes)])
        regions = torch.cat([numbers, torch.cat(boxes)], 1)
        levels = self.level_of(boxes)
        first = next(iter(maps.values()))
        pooled = first.new_zeros(len(regions), first.shape[1], self.size, self.size)
        for number, (stride, level) in enumerate(zip(self.strides, maps.values(), strict=False)):
            chosen = torch.where(levels == number)[0]
            found = roi_align(level, regions[chosen], self.size, 1 / stride, self.sampling, aligned=True)
            pooled = pooled.index_copy(0, chosen, found.to(pooled.dtype))
        return pooled


class Float32RPNHead(RPNHead):  # type: ignore[misc] # torchvision has no types
    """torchvision's head of proposals, whose results are float32 under mixed precision too."""

    def forward(self, maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        logits, boxes = super().forward(maps)
        return [one.float() for one in logits], [one.float() for one in boxes]


class Float32Predictor(FastRCNNPredictor):  # type: ignore[misc] # torchvision has no types
    """torchvision's predictor of classes and boxes, in float32, with the random weights of detectron2.

    These are those of its `FastRCNNOutputLayers`. Boxes are predicted for each class (`CLS_AGNOSTIC_BBOX_REG: False`).
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__(channels, outputs)
        for layer, spread in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=spread)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        logits, boxes = super().forward(features)
        return logits.float(), boxes.float()


def check_lists(sizes: Any, ratios: Any) -> None:
    """Check anchors as a config gives them.

    Raises:
        DenseSiamError: the sizes are not lists of lists of numbers from 1, or the ratios no list of numbers above 0; a
            number is too large, or there are too many.
    """
    lists = isinstance(sizes, list | tuple) and sizes and all(isinstance(one, list | tuple) and one for one in sizes)
    if not lists:
        raise DenseSiamError(
            f"model.proposals.anchor_sizes is {sizes!r}: expected a list for each map, such as [[32,64,128]]"
        )
    if not isinstance(ratios, list | tuple) or not ratios:
        raise DenseSiamError(f"model.proposals.anchor_ratios is {ratios!r}: expected a list, such as [0.5,1,2]")
    for size in (side for one in sizes for side in one):
        check_int("model.proposals.anchor_sizes", size, 1, LARGEST_ANCHOR)
    for ratio in ratios:
        check_number("model.proposals.anchor_ratios", ratio, low=1 / LARGEST_RATIO, high=LARGEST_RATIO)
    anchors = max(map(len, sizes)) * len(ratios)
    if anchors > MOST_ANCHORS:
        raise DenseSiamError(
            f"model.proposals.anchor_sizes and anchor_ratios make {anchors} anchors at a place: expected at most "
            f"{MOST_ANCHORS}; remove sizes or ratios"
        )


def check_settings(proposals: Any, regions: Any) -> None:
    """Refuse values of `model.proposals` and `model.regions` that do not make these settings.

    Raises:
        DenseSiamError: a value is something else.
    """
    check_made("model.proposals", proposals, Proposals, "model=faster_rcnn")
    check_made("model.regions", regions, Regions, "model=faster_rcnn")
