"""Buffers that keep float32, whatever a run's precision is."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from src.baselines.clustered import Centroids
from src.buffers import Float32Buffers
from src.clustering import NearestCentroid
from src.evaluation.probing import LinearProbe
from src.models.backbones import resnet

EXACT = torch.tensor([[1 / 3, 1e-9], [0.1, 7e8]])  # neither bfloat16 nor float16 holds any of these


class Outer(Float32Buffers):
    """A buffer and a counter of its own, and a layer inside."""

    kept: Tensor
    counter: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", EXACT.clone())
        self.register_buffer("counter", torch.tensor(3))
        self.inner = nn.BatchNorm1d(2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_own_buffers_are_kept_and_everything_inside_is_converted(dtype: torch.dtype) -> None:
    module = nn.Sequential(Outer()).to(dtype)
    outer = module[0]
    assert isinstance(outer, Outer)
    assert outer.kept.dtype == torch.float32
    assert torch.equal(outer.kept, EXACT)
    assert outer.counter.dtype == torch.int64
    assert {value.dtype for value in (outer.inner.weight, outer.inner.running_mean)} == {dtype}
    assert deepcopy(module)[0].kept.dtype == torch.float32


def test_they_move_to_another_device() -> None:
    assert Outer().to("meta", torch.bfloat16).kept.device.type == "meta"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_whatever_promises_float32_gives_it(dtype: torch.dtype) -> None:
    features = torch.rand(2, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    modules = (NearestCentroid(EXACT), LinearProbe(EXACT, EXACT[0]))
    for module in modules:
        expected = module(features.to(dtype).float())
        assert torch.equal(module.to(dtype)(features.to(dtype)), expected)
    centroids = Centroids(views=1, number=2, channels=2)
    centroids.points.copy_(EXACT)
    expected = centroids.logits(features, 0)
    assert torch.equal(centroids.to(dtype).logits(features, 0), expected)


def test_an_encoder_normalises_in_float32_and_computes_as_its_weights_do() -> None:
    encoder = resnet("resnet18", None, frozen=True, stages=1).to(torch.bfloat16)
    assert encoder.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    seen: list[Tensor] = []
    encoder.backbone.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    (found,) = encoder(torch.full((1, 3, 32, 32), 123, dtype=torch.uint8))
    assert found.dtype == torch.bfloat16
    expected = ((123 / 255 - encoder.mean) / encoder.std).to(torch.bfloat16)
    assert torch.equal(seen[0], expected.expand(1, 3, 32, 32))
