"""What a user gets from a segmentation run: encoder, neck and heads, without the parts that only training needs."""

from collections.abc import Mapping
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import DenseSiamError
from src.models.dense import DenseFeatures


class SegmentationNetwork(nn.Module):
    """Maps images to logits of pseudo-categories, see `src.tasks.base.Task.deployed`.

    Args:
        dense: encoder and neck; they are copied.
        heads: by name (`main`, `aux`, `merged`), what maps the neck's map (B, C, h, w) to logits (B, N, h, w); they are
            copied, and what they share stays shared.
        num_categories: N of each head.

    Attributes:
        default: the head that `forward` uses, which is the first one.
    """

    def __init__(self, dense: DenseFeatures, heads: Mapping[str, nn.Module], num_categories: Mapping[str, int]) -> None:
        super().__init__()
        self.encoder, self.neck = deepcopy(dense.encoder), deepcopy(dense.neck)
        self.heads = nn.ModuleDict(deepcopy(dict(heads)))
        self.num_categories = {name: num_categories[name] for name in heads}
        self.default = next(iter(heads))

    def features(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W), uint8 or float in [0, 1], to the dense map (B, C, h, w) of encoder and neck."""
        dense: Tensor = self.neck(self.encoder(images))
        return dense

    def logits(self, features: Tensor, head: str) -> Tensor:
        """Map a dense map (B, C, h, w) to the logits (B, N, h, w) of a head."""
        found: Tensor = self.heads[head](features)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W), uint8 or float in [0, 1], to the logits (B, N, h, w) of the default head."""
        return self.logits(self.features(images), self.default)


class CosineHead(nn.Module):
    """Cosine similarity with fixed centroids, as a head.

    Args:
        centroids: (N, C), of length 1.
        temperature: divides the similarities, so that their softmax separates the categories.
    """

    centroids: Tensor

    def __init__(self, centroids: Tensor, temperature: float = 0.1) -> None:
        super().__init__()
        self.register_buffer("centroids", centroids.clone())
        self.temperature = temperature

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, h, w) to similarities / temperature (B, N, h, w)."""
        with torch.autocast(features.device.type, enabled=False):
            directions = F.normalize(features.float(), dim=1)
            return F.conv2d(directions, self.centroids[:, :, None, None] / self.temperature)


def segmenting(network: nn.Module, source: str) -> SegmentationNetwork:
    """The network, if it gives a category to each pixel.

    Args:
        network: what `src.tasks.base.Task.deployed` returns.
        source: where it comes from, for the message.

    Raises:
        DenseSiamError: it is another network, such as a detector.
    """
    if not isinstance(network, SegmentationNetwork):
        raise DenseSiamError(
            f"{source} holds a {type(network).__name__}: expected a network that gives a category to each pixel; "
            "python -m src.evaluate scores it, and its run's pictures show what it finds"
        )
    return network
