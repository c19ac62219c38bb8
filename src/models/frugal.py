"""Batch norms that keep less for the backward pass, on a CPU, at the price of one more pass over a map.

torch keeps the input of a batch norm, the output of the ReLU after it, and the indices of a pooling. Half of this can
be computed again in one pass. `normalised_convolution`, `normalised_pooling` and `normalised` give what their layers
give one after the other, gradients and running statistics included, up to rounding. Where torch's own batch norm does
not train on a CPU (evaluation, a GPU, statistics over several processes), and within `as_layers`, they apply the
layers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from src.models.pointwise import as_rows, from_rows, lies_in_rows, pointwise

aten = torch.ops.aten
Gradients = tuple[Tensor | None, ...]
keeps_less = ContextVar("keeps_less", default=True)


@contextmanager
def as_layers() -> Iterator[None]:
    """Within it, a forward pass applies the layers one after the other, as on a GPU, to compare what autograd keeps."""
    token = keeps_less.set(False)
    try:
        yield
    finally:
        keeps_less.reset(token)


def normalised_convolution(x: Tensor, norm: nn.Module, convolution: nn.Conv2d) -> Tensor:
    """Batch norm, ReLU and a convolution of a map (B, C, h, w); only the map is kept."""
    plain = convolution.padding_mode != "zeros" or isinstance(convolution.padding, str)
    if plain or not (trains_here(norm, x) and norm.affine):
        return cast(Tensor, convolution(F.relu(norm(x), inplace=True)))
    given = (norm.weight, norm.bias, convolution.weight, convolution.bias)
    how = shape_of(convolution), dtype_of_products(x)
    found = _NormalisedConvolution.apply(x, *given, *how, *statistics(norm, x))
    return cast(Tensor, found)


def normalised_pooling(x: Tensor, norm: nn.Module, pooling: nn.MaxPool2d) -> Tensor:
    """Batch norm, ReLU and max pooling of a map (B, C, h, w); the map and the result's indices are kept."""
    if not (trains_here(norm, x) and norm.affine):
        return cast(Tensor, pooling(F.relu(norm(x), inplace=True)))
    shape = (pooling.kernel_size, pooling.stride, pooling.padding, pooling.dilation, pooling.ceil_mode)
    found = _NormalisedPooling.apply(x, norm.weight, norm.bias, shape, *statistics(norm, x))
    return cast(Tensor, found)


def normalised(x: Tensor, norm: nn.Module) -> Tensor:
    """Batch norm of a map (B, C, h, w); without affine parameters, only the result is kept."""
    if not trains_here(norm, x) or norm.affine:
        return cast(Tensor, norm(x))
    return cast(Tensor, _Normalised.apply(x, *statistics(norm, x)))


def trains_here(norm: nn.Module, x: Tensor) -> bool:
    """Whether a layer is torch's batch norm and normalises by the statistics of this batch on a CPU, not compiled."""
    if torch.compiler.is_compiling() or not keeps_less.get():  # the compiler itself chooses what to keep
        return False
    return x.is_cpu and type(norm) is nn.BatchNorm2d and norm.training and norm.running_mean is not None


def statistics(norm: nn.Module, x: Tensor) -> tuple[tuple[Tensor, Tensor], float, float]:
    """Count a batch as `nn.BatchNorm2d.forward` does; returns running statistics, this batch's share of them, epsilon.

    Raises:
        ValueError: the map has one value per channel.
    """
    batch_norm = cast(nn.BatchNorm2d, norm)
    if x.numel() == x.shape[1]:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {tuple(x.shape)}")
    tracked = cast(Tensor, batch_norm.num_batches_tracked).add_(1)
    share = 1 / float(tracked) if batch_norm.momentum is None else batch_norm.momentum
    return (cast(Tensor, batch_norm.running_mean), cast(Tensor, batch_norm.running_var)), share, batch_norm.eps


def shape_of(convolution: nn.Conv2d) -> tuple[Any, ...]:
    """Stride, padding, dilation and groups of a convolution, as `F.conv2d` takes them."""
    return convolution.stride, convolution.padding, convolution.dilation, convolution.groups


def dtype_of_products(x: Tensor) -> torch.dtype:
    """The dtype in which torch convolves a map: under autocast that of autocast, unless the map is float64."""
    half = torch.is_autocast_enabled("cpu") and x.dtype != torch.float64
    return torch.get_autocast_dtype("cpu") if half else x.dtype


def is_pointwise(weight: Tensor, shape: tuple[Any, ...]) -> bool:
    """Whether a convolution with this weight and `shape_of` is a 1x1 convolution that `pointwise` computes."""
    return weight.shape[2:] == (1, 1) and shape == ((1, 1), (0, 0), (1, 1), 1)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, shape: tuple[Any, ...]) -> Tensor:
    """A convolution, whose shape is that of `shape_of`."""
    return pointwise(x, weight, bias) if is_pointwise(weight, shape) else F.conv2d(x, weight, bias, *shape)


def normalise(x: Tensor, scale: Tensor | None, shift: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The map normalised by its own statistics, its mean, and 1 / its standard deviation."""
    running, share, eps = rest
    found: tuple[Tensor, Tensor, Tensor] = aten.native_batch_norm(x, scale, shift, *running, True, share, eps)
    return found


class _NormalisedConvolution(Function):
    """Keeps the batch norm's input, from which the backward pass computes the convolution's input again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *given: Any) -> Tensor:
        scale, shift, weight, bias, shape, dtype, *rest = given
        with torch.autocast("cpu", enabled=False):
            active, mean, inverse = normalise(x, scale, shift, *rest)
            inward = active.relu_().to(dtype)
            found = convolve(inward, weight.to(dtype), None if bias is None else bias.to(dtype), shape)
        ctx.save_for_backward(x, scale, shift, weight, mean, inverse)
        ctx.shape, ctx.dtype, ctx.eps = shape, dtype, rest[-1]
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Gradients:
        x, scale, shift, weight, mean, inverse = ctx.saved_tensors
        needs = ctx.needs_input_grad
        active = aten.native_batch_norm(x, scale, shift, None, None, True, 0.0, ctx.eps)[0].relu_()  # the same bits
        active = active.to(ctx.dtype)
        by_rows = is_pointwise(weight, ctx.shape) and lies_in_rows(active)
        if by_rows:
            gradient, active = as_rows(gradient.contiguous(memory_format=torch.channels_last)), as_rows(active)
        stride, padding, dilation, groups = ctx.shape
        inward, of_weight, _ = aten.convolution_backward(
            *(gradient, active, weight.to(ctx.dtype), None, stride, padding, dilation, False, (0, 0), groups),
            (True, needs[3], False),
        )
        aten.threshold_backward.grad_input(inward, active, 0, grad_input=inward)
        del active
        inward = (from_rows(inward, x) if by_rows else inward).to(x.dtype)
        of_x, of_scale, of_shift = aten.native_batch_norm_backward(
            inward, x, scale, None, None, mean, inverse, True, ctx.eps, needs[:3]
        )
        of_bias = gradient.sum((0, 2, 3)) if needs[4] else None
        of_weight = of_weight.to(weight.dtype) if needs[3] else None
        return of_x, of_scale, of_shift, of_weight, of_bias, *[None] * 5


class _NormalisedPooling(Function):
    """Keeps the batch norm's input; where a window's largest value is not positive, the ReLU stops the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *given: Any) -> Tensor:
        scale, shift, shape, *rest = given
        active, mean, inverse = normalise(x, scale, shift, *rest)
        found, indices = F.max_pool2d_with_indices(active.relu_(), *shape)
        ctx.save_for_backward(x, scale, mean, inverse, found, indices)
        ctx.shape, ctx.eps = shape, rest[-1]
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Gradients:
        x, scale, mean, inverse, found, indices = ctx.saved_tensors
        kernel, stride, padding, dilation, ceiled = ctx.shape
        pair = [(side, side) if isinstance(side, int) else side for side in (kernel, stride, padding, dilation)]
        gradient = aten.threshold_backward(gradient, found, 0)
        inward = aten.max_pool2d_with_indices_backward(gradient, x, *pair, ceiled, indices)
        gradients = aten.native_batch_norm_backward(
            inward, x, scale, None, None, mean, inverse, True, ctx.eps, ctx.needs_input_grad[:3]
        )
        return *gradients, *[None] * 4


class _Normalised(Function):
    """Keeps the output: that of a batch norm without affine parameters is all that its gradient needs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *rest: Any) -> Tensor:
        found, _, inverse = normalise(x, None, None, *rest)
        ctx.save_for_backward(found, inverse)
        ctx.eps = rest[-1]
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Gradients:
        found, inverse = ctx.saved_tensors
        standard = torch.zeros_like(inverse), torch.ones_like(inverse)  # mean and 1 / deviation of the output
        of_x, _, _ = aten.native_batch_norm_backward(
            gradient, found, inverse, None, None, *standard, True, ctx.eps, (True, False, False)
        )
        return of_x, *[None] * 3
