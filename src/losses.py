"""The losses of the paper as pure functions: Eq. 1-6, L_seg of section 4 and its weights.

Each loss is computed in float32 for inputs of any precision, so that half precision does not make it less exact. It
returns one value per image, (B,); the task averages these over the images of all processes whose views overlap.
Symbols: B images, C channels, N pseudo-categories, K x K grid points, z projector output, p predictor output.
"""

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from src.contrast import Contrast
from src.cross_entropy import own_cross_entropy, soft_cross_entropy
from src.winners import winners

Distance = Callable[[Tensor, Tensor], Tensor]
Weighting = Literal["frequency", "inverse", "none"]
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)


def cosine_distance(p: Tensor, z: Tensor) -> Tensor:
    """Negative cosine similarity of each position (Eq. 2).

    Args:
        p, z: (B, C, ...) prediction and target.

    Returns:
        (B, ...), in [-1, 1].
    """
    return -F.cosine_similarity(p.float(), z.float(), dim=1)


def cross_entropy_distance(p: Tensor, z: Tensor) -> Tensor:
    """Cross entropy from softmax(z) to softmax(p) at each position (the release's `CESimilarity`).

    Eq. 3 prints the logarithm on z, the side that receives no gradient. Minimising that form in p alone makes
    softmax(p) one-hot at the largest entry of z instead of equal to softmax(z), so the release's order is the default.
    See `printed_cross_entropy_distance`.

    Args:
        p, z: (B, N, ...) logits of prediction and target.

    Returns:
        (B, ...), at least 0.
    """
    p, z = p.float().movedim(1, -1), z.float().movedim(1, -1)
    if z.requires_grad:
        return -(z.softmax(-1) * p.log_softmax(-1)).sum(-1)
    return soft_cross_entropy(p, z)


def printed_cross_entropy_distance(p: Tensor, z: Tensor) -> Tensor:
    """Cross entropy from softmax(p) to softmax(z) at each position (Eq. 3 exactly as printed)."""
    return cross_entropy_distance(z, p)


DISTANCES: dict[str, Distance] = {
    "cosine": cosine_distance,
    "cross_entropy": cross_entropy_distance,
    "printed_cross_entropy": printed_cross_entropy_distance,
}


def similarity_loss(p1: Tensor, z1: Tensor, p2: Tensor, z2: Tensor, distance: Distance, stop_gradient: bool) -> Tensor:
    """Symmetrised distance between each view's prediction and the other view's projection (Eq. 1).

    Args:
        p1, z1, p2, z2: outputs of predictor and projector, (B, C, ...) at the same places of both views or (B, C) for
            whole images.
        distance: Eq. 2 or 3, one of `DISTANCES`.
        stop_gradient: whether the target side receives no gradient; without it the network collapses.

    Returns:
        (B,) mean over positions.
    """
    if stop_gradient:
        z1, z2 = z1.detach(), z2.detach()
    per_position = 0.5 * distance(p1, z2) + 0.5 * distance(p2, z1)
    return per_position.reshape(len(per_position), -1).mean(1)


def region_embeddings(z: Tensor, features: Tensor) -> Tensor:
    """One embedding per image and pseudo-category: features summed under soft masks (Eq. 4).

    Eq. 4 prints z as the mask; the release uses its softmax over the categories, and so do we. Both factors receive a
    gradient.

    Args:
        z: (B, N, K, K) projector logits.
        features: (B, C, K, K) encoder features at the same points.

    Returns:
        (B, N, C) float32.
    """
    with torch.autocast(z.device.type, enabled=False):
        masks = z.float().movedim(1, -1).softmax(-1).flatten(1, -2)  # (B, K x K, N)
        values = features.float().movedim(1, -1).flatten(1, -2)  # (B, K x K, C)
        return masks.mT @ values


def contrastive_distance(u: Tensor, v: Tensor, temperature: float, normalise: bool) -> Tensor:
    """Contrast of each region with the other regions of the same image (Eq. 6).

    Eq. 6 prints plain dot products and a sum; the release normalises, divides by 0.1 and averages.

    Args:
        u: (B, N, C) output of h' for one view; v: (B, N, C) output of g' for the other.
        temperature: divides the similarities, above 0.
        normalise: whether to scale u and v to length 1.

    Returns:
        (B,) mean over the N regions, at least 0.
    """
    with torch.autocast(u.device.type, enabled=False):
        values: Tensor = Contrast.apply(u.float(), v.float(), temperature, normalise)  # (B, N)
    return values.mean(1)


def contrastive_region_loss(
    u1: Tensor, v1: Tensor, u2: Tensor, v2: Tensor, temperature: float, normalise: bool, stop_gradient: bool
) -> Tensor:
    """Symmetrised contrast of the region embeddings of two views (Eq. 5).

    Args:
        u1, v1, u2, v2: (B, N, C) outputs of h' and g' for the regions of both views.
        temperature, normalise: see `contrastive_distance`.
        stop_gradient: whether v receives no gradient. The paper does not say; in the release v receives it.

    Returns:
        (B,) one value per image.
    """
    if stop_gradient:
        v1, v2 = v1.detach(), v2.detach()
    first = contrastive_distance(u1, v2, temperature, normalise)
    second = contrastive_distance(u2, v1, temperature, normalise)
    return 0.5 * first + 0.5 * second


def category_counts(z: Tensor, valid: Tensor) -> Tensor:
    """Number of positions of the valid images at which each pseudo-category has the largest logit.

    Args:
        z: (B, N, ...) logits; valid: (B,) bool.

    Returns:
        (N,) float32 counts.
    """
    return torch.bincount(winners(z)[valid].flatten(), minlength=z.shape[1]).float()


def category_weights(counts: Tensor, weighting: Weighting) -> Tensor:
    """Weight of each pseudo-category in L_seg.

    The paper says "class-balanced". The release weights each category by its *frequency*, so frequent categories get
    larger weights. `inverse` balances the categories; it is scaled so that the mean weight over positions is 1.

    Args:
        counts: (N,) numbers of positions, see `category_counts`.
        weighting: `frequency`, `inverse` or `none`.

    Returns:
        (N,) float32; 0 for a category with a count of 0, except for `none`.
    """
    if weighting == "none":
        return torch.ones_like(counts)
    share = counts / counts.sum().clamp(min=1)
    if weighting == "frequency":
        return share
    present = (counts > 0).sum().clamp(min=1)
    return torch.where(counts > 0, 1 / (share * present), 0.0)


def segmentation_loss(z: Tensor, weights: Tensor) -> Tensor:
    """Cross entropy of each position with its own winning category, which sharpens the prediction (L_seg, section 4).

    As in the release's `HardCESimilarity`, the weighted values are divided by the number of positions, not by the sum
    of the weights.

    Args:
        z: (B, N, ...) projector logits; weights: (N,) see `category_weights`.

    Returns:
        (B,) mean over positions, at least 0.
    """
    return own_cross_entropy(z.float().movedim(1, -1), weights).flatten(1).mean(1)


def balance_loss(z: Tensor, valid: Tensor) -> Tensor:
    """How far the mean prediction of a batch is from using all categories equally: log M minus its entropy, in nats.

    The term is that of discriminative clustering (Krause, Perona and Gomes, 2010; Hu et al., IMSAT, 2017).

    Args:
        z: (B, S, M, ...) logits of S sets of M categories.
        valid: (B,) bool, which images count.

    Returns:
        (S,) from 0 to log M; 0, with a gradient of 0, if no image is valid.
    """
    if not valid.any():
        return 0.0 * z.float().sum() + torch.zeros(z.shape[1], device=z.device)
    mean = z[valid].float().softmax(2).flatten(3).mean((0, 3))  # (S, M)
    return math.log(z.shape[2]) + torch.xlogy(mean, mean).sum(1)


def valid_mean(values: Tensor, valid: Tensor, mean_over_processes: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean of per-image values over the valid images of all processes.

    Data-parallel training averages the processes' gradients, so each process divides its sum by the average number of
    valid images over all processes, not by its own number.

    Args:
        values: (B,) per-image losses; valid: (B,) bool.
        mean_over_processes: averages a tensor over all processes; with one process, the identity.

    Returns:
        Scalar; 0 (with a gradient of 0) if no image of any process is valid.
    """
    count = mean_over_processes(valid.sum().float()).clamp(min=1e-12)
    return torch.where(valid, values, 0.0).sum() / count


def balanced_weights(num_categories: int, num_aux_categories: int) -> tuple[float, float]:
    """Log-balanced lambda_1 of the main and lambda_4 of the auxiliary head (section 4).

    Args:
        num_categories, num_aux_categories: N and N_aux, at least 2.

    Returns:
        (lambda_1, lambda_4), which sum to 1; the head with fewer categories has the larger weight.
    """
    main, aux = math.log(num_categories), math.log(num_aux_categories)
    return aux / (main + aux), main / (main + aux)


def pixel_cross_entropy(logits: Tensor, label: Tensor, align_corners: bool = False) -> Tensor:
    """Cross entropy of logits, upsampled bilinearly to their labels: the mean over all pixels.

    A pixel without a class has the loss 0, but is counted in the mean, as in MMSegmentation. So a crop of padding has
    the loss 0, and the mean over processes with equal batches is that of one process with all images.

    Args:
        logits: (B, C, h, w).
        label: (B, H, W) int64, 0 to C - 1, or 255 for pixels without a class.
        align_corners: whether the corner cells of the logits lie on the corner pixels of the labels.

    Returns:
        a scalar.
    """
    size = (label.shape[1], label.shape[2])
    upsampled = F.interpolate(logits.float(), size, mode="bilinear", align_corners=align_corners)
    return F.cross_entropy(upsampled, label, ignore_index=255, reduction="sum") / label.numel()
