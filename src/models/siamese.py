"""The Dense Siamese Network: one view in, everything the losses compare out (paper 3.1-3.3, Fig. 2)."""

from collections.abc import Callable, Collection, Sequence
from typing import Literal, NamedTuple, get_args

from torch import Tensor, nn

from src.errors import DenseSiamError
from src.geometry import sample_boxes
from src.losses import region_embeddings
from src.models.encoder import Encoder
from src.models.fpn import SimplifiedFPN
from src.models.heads import RegionHead, predictor, projector

GridPosition = Literal["before_projector", "after_projector", "after_predictor"]


class Pair(NamedTuple):
    """What Eq. 1 and 5 compare across views: one side predicts, the other is the target.

    Attributes:
        prediction: p (B, N, K, K), or u (B, N, C) for regions.
        target: z, or v, of the same shape.
    """

    prediction: Tensor
    target: Tensor


class View(NamedTuple):
    """What one view gives at the K x K points of the overlap; None where nothing needs it.

    Attributes:
        z: (B, N, K, K) output of the projector.
        dense, aux: of the main and the auxiliary projector and predictor.
        regions: of h' and g'.
    """

    z: Tensor
    dense: Pair | None
    aux: Pair | None
    regions: Pair | None


class DenseHead(nn.Module):
    """A projector and, where something is predicted, its predictor, with the grid at its place between them."""

    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int, predicts: bool) -> None:
        super().__init__()
        self.projector = projector(in_channels, hidden_channels, out_channels)
        self.predictor = predictor(out_channels, hidden_channels) if predicts else None

    def forward(
        self, features: Tensor, boxes: Tensor, size: tuple[int, int], position: GridPosition
    ) -> tuple[Tensor, Pair | None]:
        """Map features to the projector's and the predictor's output at the points of the overlap.

        Args:
            features: (B, C, K, K) at the points already if `position` is `before_projector`, else (B, C, H, W).
            boxes, size: see `sample_boxes`.
            position: where the grid is laid (Table 4d).

        Returns:
            z (B, N, K, K), and its pair with p unless there is no predictor.
        """
        z: Tensor = self.projector(features)
        if position == "after_projector":
            z = sample_boxes(z, boxes, size)
        p = self.predictor(z) if self.predictor is not None else None
        if position == "after_predictor":
            z = sample_boxes(z, boxes, size)
            p = sample_boxes(p, boxes, size) if p is not None else None
        return z, (None if p is None else Pair(p, z))


class DenseSiam(nn.Module):
    """Encoder, neck, and the heads that the losses of a run need; calling it gives the segmentation logits.

    A head whose loss never counts is not built.

    Args:
        encoder: f, a dense pyramid.
        neck: makes the network that merges the pyramid from its channels.
        num_categories: N, channels of the projector.
        num_aux_categories: N_aux, channels of the auxiliary projector.
        hidden_channels: of projectors and predictors; None for the neck's channels, as in the release.
        grid_size: K; None for one point per cell of the neck's map.
        grid_position: where the grid is laid (Table 4d).
        losses: which losses the run can use, of `dense`, `aux`, `region` and `seg`.

    Raises:
        DenseSiamError: K below 1; unknown grid position.
    """

    def __init__(
        self,
        encoder: Encoder,
        neck: Callable[[Sequence[int]], SimplifiedFPN],
        num_categories: int,
        num_aux_categories: int,
        grid_size: int | None = None,
        grid_position: GridPosition = "before_projector",
        hidden_channels: int | None = None,
        losses: Collection[str] = (),
    ) -> None:
        super().__init__()
        if grid_size is not None and grid_size < 1:
            raise DenseSiamError(f"grid_size is {grid_size}: expected at least 1, or null for one point per cell")
        if grid_position not in get_args(GridPosition):
            choices = ", ".join(get_args(GridPosition))
            raise DenseSiamError(f"grid_position is {grid_position!r}: choose one of {choices}")
        self.encoder, self.neck = encoder, neck(encoder.channels)
        width = self.neck.channels
        hidden = hidden_channels or width
        self.num_categories, self.num_aux_categories = num_categories, num_aux_categories
        self.grid_size, self.grid_position = grid_size, grid_position
        self.head = DenseHead(width, hidden, num_categories, predicts="dense" in losses)
        self.aux_head = DenseHead(width, hidden, num_aux_categories, predicts=True) if "aux" in losses else None
        self.region_head = RegionHead(width, hidden) if "region" in losses else None

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W), uint8 or float in [0, 1], to logits (B, N, h, w) at the neck's stride."""
        logits: Tensor = self.head.projector(self.features(images))
        return logits

    def aux_logits(self, images: Tensor) -> Tensor:
        """Map images to logits (B, N_aux, h, w) of the auxiliary head."""
        if self.aux_head is None:
            raise RuntimeError("built without an auxiliary head")
        logits: Tensor = self.aux_head.projector(self.features(images))
        return logits

    def features(self, images: Tensor) -> Tensor:
        """f: map images (B, 3, H, W) to the dense map (B, C, h, w) of encoder and neck."""
        dense: Tensor = self.neck(self.encoder(images))
        return dense

    def view(self, images: Tensor, boxes: Tensor, with_regions: bool) -> View:
        """One side of the Siamese network.

        Args:
            images: (B, 3, H, W) one view of each image.
            boxes: (B, 4) where the overlap lies in it, see `src.geometry`.
            with_regions: whether RegionSim is awake.
        """
        features = self.features(images)
        size = (self.grid_size, self.grid_size) if self.grid_size else (features.shape[2], features.shape[3])
        early = self.grid_position == "before_projector"
        region_head = self.region_head if with_regions else None
        sampled = sample_boxes(features, boxes, size) if early or region_head else features
        dense_input = sampled if early else features
        z, dense = self.head(dense_input, boxes, size, self.grid_position)
        aux, regions = None, None
        if self.aux_head is not None:
            _, aux = self.aux_head(dense_input, boxes, size, self.grid_position)
        if region_head is not None:
            regions = Pair(*region_head(region_embeddings(z, sampled)))
        return View(z, dense, aux, regions)
