"""Mask R-CNN with a feature pyramid network, and batch norm in all its parts.

It is detectron2's `configs/COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml` as the transfer of self-supervised
backbones is measured (MoCo, DenseCL): batch norm is trained, and synchronised over processes by `trainer=ddp`, in the
backbone, in the pyramid (`FPN.NORM`), in the head of boxes with four convolutions and one linear layer
(`FastRCNNConvFCHead`, `NUM_CONV: 4`, `NUM_FC: 1`, `NORM: SyncBN`), and in the head of masks
(`MaskRCNNConvUpsampleHead`).
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from src.checks import check_int, check_made
from src.errors import DenseSiamError
from src.models.detection import DetectionNetwork, Prepared
from src.models.encoder import Encoder
from src.models.necks import MOST_CHANNELS
from src.models.rcnn import AlignedPool, Maps, Proposals, Regions, check_settings

STRIDES = (4, 8, 16, 32)  # of the encoder's maps; the pyramid adds one of stride 64, for proposals only
COARSEST = 64  # the stride of that map; images are padded to multiples of it
BOX_POOLED, MASK_POOLED = 7, 14  # rows and columns of a pooled region; a mask has 28
CONVOLUTIONS = 4  # of each head
WIDEST = 1024  # channels of all these convolutions: a stranger's checkpoint must not fill the memory


class Float32MaskPredictor(MaskRCNNPredictor):  # type: ignore[misc] # torchvision has no types
    """torchvision's predictor of masks, whose results are float32 under mixed precision too."""

    def forward(self, regions: Tensor) -> Tensor:
        logits: Tensor = super().forward(regions)
        return logits.float()


class MaskHead(MaskRCNNHeads):  # type: ignore[misc] # torchvision has no types
    """torchvision's convolutions on regions with batch norm, which also train on a batch without objects.

    Such a batch has no regions, and the statistics of batch norm would become nan: the convolutions are left out.
    Synchronised batch norm has to be called by all processes, and needs one region among them. There, a process without
    objects adds a blank region, which counts in the statistics of all processes, as one of typically some hundred.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, [channels] * CONVOLUTIONS, 1, nn.BatchNorm2d)

    def forward(self, regions: Tensor) -> Tensor:
        """Map regions (R, C, s, s) to (R, C, s, s); R may be 0."""
        if len(regions) or not self.training:
            found: Tensor = super().forward(regions)
            return found
        if any(isinstance(module, nn.SyncBatchNorm) for module in self.modules()):
            blank: Tensor = super().forward(regions.new_zeros(1, *regions.shape[1:]))
            return blank[:0]
        return regions + 0 * torch.stack([parameter.sum() for parameter in self.parameters()]).sum()


class Pyramid(FeaturePyramidNetwork):  # type: ignore[misc] # torchvision has no types
    """torchvision's pyramid with batch norm, and a fifth map by pooling.

    Args:
        in_channels: number of channels of each map, finest first.
        channels: number of channels of all maps of the pyramid.
    """

    def __init__(self, in_channels: list[int], channels: int) -> None:
        super().__init__(in_channels, channels, LastLevelMaxPool(), nn.BatchNorm2d)

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = super().forward(OrderedDict(maps))
        return found


def mask_rcnn(
    encoder: Encoder,
    channels: int,
    box_features: int,
    proposals: Proposals,
    regions: Regions,
    num_classes: int,
    side: int,
    longest: int,
) -> DetectionNetwork:
    """Mask R-CNN on a pyramid of an encoder's maps.

    Args:
        encoder: an encoder with maps of strides 4, 8, 16 and 32 for images of any size.
        channels: number of channels of the pyramid and of the convolutions in the heads.
        box_features: number of outputs of the linear layer in the head of boxes.
        proposals, regions: see there.
        num_classes: number of classes, without the background.
        side, longest: see `src.models.detection.Prepared`.

    Raises:
        DenseSiamError: a value is out of its range, or the encoder has other maps.
    """
    check_made("model.encoder", encoder, Encoder, "model/encoder=resnet50")
    check_settings(proposals, regions)
    check_int("model.channels", channels, 1, WIDEST)
    check_int("model.box_features", box_features, 1, MOST_CHANNELS)
    if encoder.strides != STRIDES or encoder.size is not None or encoder.align_corners:
        raise DenseSiamError(
            f"the encoder has maps of strides {list(encoder.strides)}: Mask R-CNN expects strides {list(STRIDES)}, for "
            "images of any size; choose model/encoder=resnet50, with stages=4, output_stride=32, align_corners=false"
        )
    pyramid = Pyramid(list(encoder.channels), channels)
    box_head = FastRCNNConvFCHead(
        (channels, BOX_POOLED, BOX_POOLED), [channels] * CONVOLUTIONS, [box_features], nn.BatchNorm2d
    )
    roi_heads = regions.heads(
        AlignedPool(STRIDES, BOX_POOLED, regions.sampling),
        box_head,
        box_features,
        num_classes,
        mask_roi_pool=AlignedPool(STRIDES, MASK_POOLED, regions.sampling),
        mask_head=MaskHead(channels),
        mask_predictor=Float32MaskPredictor(channels, channels, num_classes + 1),
    )
    rcnn = GeneralizedRCNN(
        Maps(encoder, pyramid),
        proposals.network(channels, maps=len(STRIDES) + 1),
        roi_heads,
        Prepared(encoder, side, longest, COARSEST),
    )
    return DetectionNetwork(rcnn, ("backbone.encoder.backbone",))
