"""f, the part that all methods share: an encoder's pyramid, merged by a neck into one dense map."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from src.checks import check_choice, check_int, check_made
from src.geometry import sample_boxes
from src.models.encoder import Encoder
from src.models.necks import Neck

MemoryFormat = Literal["contiguous", "channels_last"]


class DenseFeatures(nn.Module):
    """Encoder and neck, and the grid over the overlap of two views.

    Args:
        encoder: a dense pyramid.
        neck: makes the network that merges the pyramid, given the channels of the pyramid's maps.
        grid_size: K; None for one point per cell of the neck's map, 0 for no points.
        memory_format: memory format of the encoder's weights, and so of its maps. Both formats give the same values up
            to rounding; which one is faster depends on the device, the precision and the sizes.

    Raises:
        DenseSiamError: K is no whole number from 0, the memory format is unknown, or the encoder or the neck is an
            object of another kind.
    """

    def __init__(
        self,
        encoder: Encoder,
        neck: Callable[[Sequence[int]], Neck],
        grid_size: int | None = None,
        memory_format: MemoryFormat = "contiguous",
    ) -> None:
        super().__init__()
        if grid_size is not None:
            check_int("model.grid_size", grid_size, high=256, otherwise="or null for one point per cell")
        check_choice("model.memory_format", memory_format, get_args(MemoryFormat))
        check_made("model.encoder", encoder, Encoder, "model/encoder=resnet18")
        check_made("model.neck", neck, callable, "model/neck=fpn")
        self.encoder, self.neck, self.grid_size = encoder, neck(encoder.channels), grid_size
        if memory_format == "channels_last":
            self.encoder.to(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """f: map images (B, 3, H, W), uint8 or float in [0, 1], to the dense map (B, C, h, w) of encoder and neck."""
        dense: Tensor = self.neck(self.encoder(images))
        return dense

    def heads(self) -> list[nn.Module]:
        """The modules that map features to what losses compare; none here."""
        return []

    def points(self, features: Tensor) -> tuple[int, int]:
        """Rows and columns of the grid for a map (B, C, h, w)."""
        if self.grid_size is None:
            return features.shape[2], features.shape[3]
        return self.grid_size, self.grid_size

    def overlap(self, images: Tensor, boxes: Tensor) -> Tensor:
        """Features of one view at the points of the overlap.

        Args:
            images: (B, 3, H, W) one view of each image.
            boxes: (B, 4) the place of the overlap in each view, see `src.geometry`.

        Returns:
            (B, C, K, K) features at the points.
        """
        features = self.features(images)
        return sample_boxes(features, boxes, self.points(features))

    @torch.no_grad()
    def fit_neck(self, batches: Iterable[Tensor]) -> None:
        """Fit the neck on batches of training images (B, 3, H, W), if this kind of neck needs it."""
        training = self.encoder.training
        self.encoder.eval()
        self.neck.fit(self.encoder(images) for images in batches)
        self.encoder.train(training)
