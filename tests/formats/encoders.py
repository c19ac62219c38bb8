"""Encoders in the form that writers take, with random weights and statistics."""

from functools import partial
from typing import Any

import torch

from src.checkpoints.rebuilding import rebuild
from src.formats.backbone import Backbone
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
    """A segmentation network of two heads with this encoder."""
    dense = DenseSiam(
        backbone(config).encoder,
        partial(SimplifiedFPN, channels=16),
        num_categories=4,
        num_aux_categories=10,
        losses=("dense", "aux"),
    )
    return SegmentationNetwork(dense, dense.projectors(), {"main": 4, "aux": 10}).eval()
