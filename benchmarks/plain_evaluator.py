"""Scoring written plainly, as the authors' release scores: what ours is compared with.

Facts of the release: the logits are upsampled bilinearly to the labels, then the argmax is taken, and NumPy counts the
pairs of label and cluster of the pixels that a mask leaves (core/evaluators/cluster_mIoU_evaluator.py).
"""

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def plain_matrices(logits: Tensor, label: Tensor, num_classes: int, num_clusters: int) -> NDArray[np.int64]:
    """The confusion matrix of each image.

    Args:
        logits: (B, N, h, w) float32.
        label: (B, H, W) int64; 255 is ignored.
        num_classes, num_clusters: C and N.

    Returns:
        (B, C, N).
    """
    upsampled = F.interpolate(logits, label.shape[1:], mode="bilinear", align_corners=False)
    clusters, matrices = upsampled.argmax(1).numpy(), []
    for predicted, true in zip(clusters, label.numpy(), strict=True):
        counted = (true >= 0) & (true < num_classes)
        cells = num_clusters * true[counted] + predicted[counted]
        matrices.append(np.bincount(cells, minlength=num_classes * num_clusters).reshape(num_classes, num_clusters))
    return np.stack(matrices)
