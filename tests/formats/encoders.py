"""Encoders in the form that writers take, with random weights and statistics."""

from functools import partial
from typing import Any

import torch
from torch import nn

from src.checkpoints.rebuilding import rebuild
from src.formats.backbone import Backbone
from src.models.merged import Merging
from src.models.necks import SimplifiedFPN
from src.models.segmentation import SegmentationNetwork
from src.models.siamese import DenseSiam
from tests.factories import shaken

RESNET18 = {"_target_": "src.models.backbones.resnet", "name": "resnet18", "weights": None, "frozen": False}
HALF = {**RESNET18, "stages": 2, "padding": "reflect"}
RESNET10T = {"_target_": "src.models.backbones.timm_features", "name": "resnet10t", "weights": None, "frozen": False}
LITE0 = {"_target_": "src.models.backbones.efficientnet_lite0", "weights": None, "frozen": False}
VIT = {**RESNET10T, "name": "vit_tiny_patch16_224", "out_indices": [-1]}
CONVNEXT = {**RESNET10T, "name": "convnext_atto"}


def backbone(config: dict[str, Any]) -> Backbone:
    """The encoder that a config describes."""
    torch.manual_seed(2)
    encoder = rebuild(config)
    shaken(encoder)
    return Backbone(encoder.eval(), config)


def network(config: dict[str, Any]) -> SegmentationNetwork:
    """A segmentation network with this encoder: two heads, and the second one's ten categories merged to four."""
    dense = DenseSiam(
        backbone(config).encoder,
        partial(SimplifiedFPN, channels=16),
        num_categories=4,
        num_aux_categories=10,
        losses=("dense", "aux"),
    )
    merging = Merging(4, 10)
    merging.groups.copy_(torch.arange(10) % 4)
    heads = {**dense.projectors(), "merged": nn.Sequential(dense.projectors()["aux"], merging)}
    return SegmentationNetwork(dense, heads, {"main": 4, "aux": 10, "merged": 4}).eval()
