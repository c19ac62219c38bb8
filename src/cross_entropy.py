"""Cross entropies of positions with soft and with own labels, which keep one tensor of their input's size for backward.

Written with torch's softmax, log_softmax and products, autograd would keep three or four. Both take the categories
along the last dimension, where torch's softmax is fastest, and compute in the dtype of their inputs.
"""

from typing import Any, cast

from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def soft_cross_entropy(p: Tensor, z: Tensor) -> Tensor:
    """Cross entropy from softmax(z) to softmax(p), where only p receives a gradient.

    Args:
        p, z: (..., N) logits of prediction and target, of the same dtype.

    Returns:
        (...), at least 0. A second derivative is refused with an error.
    """
    return cast(Tensor, _SoftCrossEntropy.apply(p, z))


def own_cross_entropy(z: Tensor, weights: Tensor) -> Tensor:
    """Cross entropy with the largest logit's category, times the weight of this category.

    Args:
        z: (..., N) logits.
        weights: (N,), without gradient.

    Returns:
        (...), at least 0. A second derivative is refused with an error.
    """
    return cast(Tensor, _OwnCrossEntropy.apply(z, weights))


class _SoftCrossEntropy(Function):
    """The gradient of a position is softmax(p) - softmax(z), which is all that is kept."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, z: Tensor) -> Tensor:
        target, difference = z.softmax(-1), p.log_softmax(-1)
        distance = -(target * difference).sum(-1)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(difference.exp_().sub_(target))
        return distance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None]:
        if not ctx.needs_input_grad[0]:
            return None, None
        (difference,) = ctx.saved_tensors
        return difference * gradient[..., None], None


class _OwnCrossEntropy(Function):
    """The gradient of a position is softmax(z) minus 1 at its label, times the label's weight."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, weights: Tensor) -> Tensor:
        label = z.max(-1, keepdim=True).indices
        weight = weights[label].to(z.dtype)
        shares = z.log_softmax(-1)
        distance = -weight * shares.gather(-1, label)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(shares.exp_(), label, weight)
        return distance.squeeze(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None]:
        if not ctx.needs_input_grad[0]:
            return None, None
        shares, label, weight = ctx.saved_tensors
        scale = weight * gradient[..., None]
        return (shares * scale).scatter_add_(-1, label, -scale), None
