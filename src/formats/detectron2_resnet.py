"""detectron2's ResNet (its `modeling/backbone/resnet.py`): the names and shapes of its weights, and its maps."""

from collections.abc import Iterator, Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor

DEPTHS = {"resnet18": 18, "resnet34": 34, "resnet50": 50, "resnet101": 101}
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
NORM = ("weight", "bias", "running_mean", "running_var")


def expected_shapes(depth: int, stages: int) -> dict[str, tuple[int, ...]]:
    """The shape of every entry of detectron2's ResNet, without its classifier.

    Args:
        depth: 18, 34, 50 or 101.
        stages: how many of the stages res2 to res5 it has, 1 to 4.
    """
    return {
        name: shape
        for convolution, weight in _convolutions(depth, stages)
        for name, shape in (
            (f"{convolution}.weight", weight),
            *((f"{convolution}.norm.{entry}", weight[:1]) for entry in NORM),
        )
    }


def _convolutions(depth: int, stages: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The name of each convolution and the shape of its weight."""
    yield "stem.conv1", (64, 3, 7, 7)
    before = 64
    for stage in range(stages):
        inner = 64 * 2**stage
        after = inner if depth < 50 else 4 * inner
        for block in range(BLOCKS[depth][stage]):
            place = f"res{stage + 2}.{block}"
            if depth < 50:
                yield f"{place}.conv1", (inner, before, 3, 3)
                yield f"{place}.conv2", (inner, inner, 3, 3)
            else:
                yield f"{place}.conv1", (inner, before, 1, 1)
                yield f"{place}.conv2", (inner, inner, 3, 3)
                yield f"{place}.conv3", (after, inner, 1, 1)
            if before != after:
                yield f"{place}.shortcut", (after, before, 1, 1)
            before = after


def resnet_maps(
    state: Mapping[str, Tensor], depth: int, stages: int, strides: Sequence[int], images: Tensor
) -> list[Tensor]:
    """The maps res2, res3, ... that a ResNet with detectron2's names and STRIDE_IN_1X1: False computes.

    Args:
        state: its weights.
        depth, stages: see `expected_shapes`.
        strides: the stride of each map. Where it is that of the map before, 3x3 convolutions dilate instead.
        images: (B, 3, H, W), normalised.
    """

    def convolved(x: Tensor, name: str, stride: int = 1, dilation: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        padding = weight.shape[-1] // 2 * dilation
        x = F.conv2d(x, weight, stride=stride, padding=padding, dilation=dilation)
        scale, shift, mean, variance = (state[f"{name}.norm.{entry}"] for entry in NORM)
        return F.batch_norm(x, mean, variance, scale, shift)

    x = F.max_pool2d(convolved(images, "stem.conv1", stride=2).relu(), 3, stride=2, padding=1)
    maps, dilation, before = [], 1, 4
    for stage in range(stages):
        first = dilation  # the first block reads what the stage before has made
        stride = strides[stage] // before
        dilation = 4 * 2**stage // strides[stage]
        for block in range(BLOCKS[depth][stage]):
            place, step, own = f"res{stage + 2}.{block}", stride if block == 0 else 1, first if block == 0 else dilation
            if depth < 50:
                y = convolved(convolved(x, f"{place}.conv1", step, own).relu(), f"{place}.conv2", 1, dilation)
            else:
                y = convolved(convolved(x, f"{place}.conv1").relu(), f"{place}.conv2", step, own).relu()
                y = convolved(y, f"{place}.conv3")
            kept = convolved(x, f"{place}.shortcut", step) if f"{place}.shortcut.weight" in state else x
            x = (y + kept).relu()
        maps.append(x)
        before = strides[stage]
    return maps
