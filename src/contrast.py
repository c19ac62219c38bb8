"""The contrast of regions (Eq. 6) with a gradient of its own, which passes over the (B, N, N) similarities less often.

Autograd would keep three tensors of that size for the backward pass; this keeps one.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SHORTEST = 1e-12  # vectors are scaled as if they had at least this length


class Contrast(torch.autograd.Function):
    """-log_softmax of the scaled similarities u v^T at the diagonal, (B, N); see `src.losses.contrastive_distance`."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, v: Tensor, temperature: float, normalise: bool) -> Tensor:
        """u, v: (B, N, C), in one dtype."""
        similarity = u @ v.mT
        per_u, per_v = (inverse_length(x) if normalise else x.new_ones(x.shape[:2]) for x in (u, v))
        if normalise:
            similarity.mul_(per_v[:, None])
        logarithms = similarity.mul_((per_u / temperature)[:, :, None]).log_softmax(2)
        values = -logarithms.diagonal(dim1=1, dim2=2)  # negation copies it, before the next line changes it
        ctx.temperature, ctx.normalise = temperature, normalise
        ctx.save_for_backward(u, v, per_u, per_v, logarithms.exp_())
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        u, v, per_u, per_v, probabilities = ctx.saved_tensors
        rows = upstream[0] * per_u / ctx.temperature
        gradient = probabilities * rows[:, :, None]  # with respect to u v^T
        gradient.diagonal(dim1=1, dim2=2).sub_(rows)
        if ctx.normalise:
            gradient.mul_(per_v[:, None])
        needs_u, needs_v, *_ = ctx.needs_input_grad
        return (
            through_length((v.mT @ gradient.mT).mT, u, per_u, ctx.normalise) if needs_u else None,
            through_length((u.mT @ gradient).mT, v, per_v, ctx.normalise) if needs_v else None,
            None,
            None,
        )


def inverse_length(x: Tensor) -> Tensor:
    """1 / |x| of each row: (B, N, C) -> (B, N)."""
    return 1 / torch.linalg.vector_norm(x, dim=2).clamp_min(SHORTEST)


def through_length(gradient: Tensor, x: Tensor, per_x: Tensor, normalise: bool) -> Tensor:
    """The gradient (B, N, C) of rows x, given the gradient with a constant length: less its part along x."""
    if not normalise:
        return gradient
    along = torch.linalg.vecdot(gradient, x, dim=2) * per_x.square()
    along = along.masked_fill(per_x >= 1 / SHORTEST, 0)  # there, the length is a constant
    return gradient.addcmul_(x, along[:, :, None], value=-1)
