"""Batch norm over processes keeps what a network computes."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from src.models.backbones import efficientnet_lite0, resnet
from src.models.encoder import Encoder
from src.training.sync_batchnorm import SyncBatchNorm


@pytest.mark.parametrize("make", [lambda: efficientnet_lite0(None, False), lambda: resnet("resnet18", None, False)])
def test_conversion_changes_batch_norms_and_nothing_else(make: Callable[[], Encoder]) -> None:
    torch.manual_seed(0)
    encoder = make().eval()
    images, names = torch.rand(1, 3, 32, 32), list(encoder.state_dict())
    before = encoder(images)
    converted = SyncBatchNorm().apply(encoder)
    norms = [module for module in converted.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(isinstance(module, nn.SyncBatchNorm) for module in norms)
    assert list(converted.state_dict()) == names
    for old, new in zip(before, converted(images), strict=True):
        assert torch.equal(old, new)
