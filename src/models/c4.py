"""Faster R-CNN whose backbone ends at stride 16 (C4); its last stage is applied to each region.

It is detectron2's `Res5ROIHeads`, with which the transfer of self-supervised backbones to PASCAL VOC is measured, as
MoCo's `detection/configs/pascal_voc_R_50_C4_24k_moco.yaml` and `Res5ROIHeadsExtraNorm` in its `detection/train_net.py`
define it: nothing is frozen, batch norm is trained, and the last stage is followed by another batch norm.
"""

from collections import OrderedDict
from typing import Any

import torchvision
from torch import Tensor, nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from src.checks import check_int, check_made
from src.models.backbones import efficientnet_lite0, resnet
from src.models.detection import DetectionNetwork, Prepared
from src.models.encoder import Encoder
from src.models.rcnn import AlignedPool, Maps, Proposals, Regions, check_settings

STRIDE = 16  # of the trunk's last map
MOST_POOLED = 32  # a stranger's checkpoint must not fill the memory


class C4(nn.Module):
    """A backbone that is cut at stride 16.

    Args:
        trunk: its stages up to stride 16.
        last: the stages behind it, which map (R, C, 14, 14) to (R, channels, 7, 7). Its parts have the names that they
            have in the whole backbone.
        channels: number of channels that the last stage gives.
    """

    def __init__(self, trunk: Encoder, last: nn.Sequential, channels: int) -> None:
        super().__init__()
        self.trunk, self.last, self.channels = trunk, last, channels


def resnet_c4(name: str, weights: str | None, frozen: bool, frozen_stages: int | None = None) -> C4:
    """A torchvision ResNet, cut behind its third stage.

    Args:
        name, weights: see `src.models.backbones.resnet`.
        frozen: whether the stages up to stride 16 keep their weights; the last stage learns in any case.
        frozen_stages: how many of these three are frozen, see `src.models.backbones.resnet`.

    Raises:
        DenseSiamError: see `src.models.backbones.resnet`.
    """
    whole = resnet(name, weights, frozen)
    trunk = resnet(name, None, frozen, stages=3, frozen_stages=frozen_stages)
    last = nn.Sequential(OrderedDict(layer4=torchvision.models.get_model(name, weights=None).layer4))
    for part in (trunk.backbone, last):
        part.load_state_dict({key: whole.backbone.state_dict()[key] for key in part.state_dict()})
    trunk.report = whole.report
    return C4(trunk, last, whole.channels[-1])


def efficientnet_lite0_c4(weights: str | None, frozen: bool) -> C4:
    """EfficientNet-Lite0, cut behind its last stage of stride 16; those of stride 32 are applied to each region.

    Args:
        weights: see `src.models.backbones.efficientnet_lite0`.
        frozen: see `resnet_c4`.

    Raises:
        DenseSiamError: see `src.models.backbones.efficientnet_lite0`.
    """
    whole = efficientnet_lite0(weights, frozen)
    backbone: Any = whole.backbone
    stages = dict(backbone.blocks.named_children())
    behind = nn.Sequential(OrderedDict((key, stages[key]) for key in ("5", "6"))).requires_grad_()
    backbone.blocks = backbone.blocks[:5]
    mean, std = (one.flatten().tolist() for one in (whole.mean, whole.std))
    trunk = Encoder(backbone, whole.channels[:3], whole.strides[:3], mean, std, frozen)
    trunk.report = whole.report
    return C4(trunk, nn.Sequential(OrderedDict(blocks=behind)), whole.channels[-1])


class LastStage(nn.Module):
    """Maps pooled regions (R, C, 14, 14) to (R, channels): last stage, batch norm, average over all positions.

    Args:
        last, channels: see `C4`.
    """

    def __init__(self, last: nn.Module, channels: int) -> None:
        super().__init__()
        self.last, self.norm = last, nn.BatchNorm2d(channels)

    def forward(self, regions: Tensor) -> Tensor:
        averaged: Tensor = self.norm(self.last(regions)).mean((2, 3))
        return averaged


def faster_rcnn(
    encoder: C4, pooled: int, proposals: Proposals, regions: Regions, num_classes: int, side: int, longest: int
) -> DetectionNetwork:
    """Faster R-CNN on a backbone that is cut at stride 16.

    Args:
        encoder: the backbone.
        pooled: rows and columns of a region that enter the last stage, which halves them; 14 in detectron2.
        proposals, regions: see there.
        num_classes: number of classes, without the background.
        side, longest: see `src.models.detection.Prepared`.

    Raises:
        DenseSiamError: a value is something else.
    """
    check_made("model.encoder", encoder, C4, "model/encoder=resnet50_c4")
    check_settings(proposals, regions)
    check_int("model.pooled", pooled, 2, MOST_POOLED)
    trunk, channels = encoder.trunk, encoder.trunk.channels[-1]
    pool, head = AlignedPool([STRIDE], pooled, regions.sampling), LastStage(encoder.last, encoder.channels)
    rcnn = GeneralizedRCNN(
        Maps(trunk),
        proposals.network(channels, maps=1),
        regions.heads(pool, head, encoder.channels, num_classes),
        Prepared(trunk, side, longest, trunk.multiple),
    )
    return DetectionNetwork(rcnn, ("backbone.encoder.backbone", "roi_heads.box_head.last"))
