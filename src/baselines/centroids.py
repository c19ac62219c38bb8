"""Centroids that serve as the classifiers of clustered features."""

import torch
import torch.nn.functional as F
from torch import Tensor

from src.buffers import Float32Buffers


class Centroids(Float32Buffers):
    """Centroids of each clustered view, used as classifiers. They are buffers, which are saved but not trained.

    Attributes:
        points: (views, N, C) float32, the centroids, of length 1.
        weights: (views, N) float32, the weight of each cluster in the cross entropy.
        current: whether they were fitted after the last step.
    """

    points: Tensor
    weights: Tensor
    current: Tensor

    def __init__(self, views: int, number: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("points", torch.zeros(views, number, channels))
        self.register_buffer("weights", torch.ones(views, number))
        self.register_buffer("current", torch.tensor(False))

    def logits(self, features: Tensor, place: int) -> Tensor:
        """Cosine similarity of features (B, C, h, w) of length 1 with the centroids of one view: (B, N, h, w)."""
        with torch.autocast(features.device.type, enabled=False):
            return F.conv2d(features, self.points[place][:, :, None, None])
