"""The Dense Siamese Network: it maps a view to all outputs that the losses compare (paper 3.1-3.3, Fig. 2)."""

from collections.abc import Callable, Collection, Sequence
from typing import Literal, NamedTuple, get_args

from torch import Tensor, nn

from src.checks import check_choice, check_int
from src.errors import DenseSiamError
from src.geometry import sample_boxes
from src.models.dense import DenseFeatures, MemoryFormat
from src.models.encoder import Encoder
from src.models.frugal_layers import applied
from src.models.heads import ImageHead, RegionHead, predictor, projector
from src.models.necks import MOST_CHANNELS, Neck

GridPosition = Literal["before_projector", "after_projector", "after_predictor"]
GlobalRegion = Literal["image", "intersection"]
MOST_CATEGORIES = 32767  # the clusters of points are kept in 16 bits


class Branch(NamedTuple):
    """The outputs of one branch for a view, which Eq. 1 and 5 compare with those for the other view.

    Attributes:
        prediction: p (B, N, K, K), u (B, N, C) for regions, or p (B, C) for the image.
        target: z, or v for regions, of the same shape.
    """

    prediction: Tensor
    target: Tensor


class View(NamedTuple):
    """The outputs for one view at the K x K points of the overlap; an output that no loss needs is None.

    Attributes:
        z: (B, N, K, K) output of the main projector.
        image, dense, aux, seg, region: the input of the loss of this name: the outputs of the image-level branch, of
            the main head and of the auxiliary head, z, and the outputs of g' and h'.
    """

    z: Tensor | None
    image: Branch | None
    dense: Branch | None
    aux: Branch | None
    seg: Tensor | None
    region: Branch | None


class DenseHead(nn.Module):
    """A projector, a predictor if it is needed, and the grid at its position before, between or after them."""

    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int, predicts: bool) -> None:
        super().__init__()
        self.projector = projector(in_channels, hidden_channels, out_channels)
        self.predictor = predictor(out_channels, hidden_channels) if predicts else None

    def forward(
        self, features: Tensor, boxes: Tensor, size: tuple[int, int], position: GridPosition
    ) -> tuple[Tensor, Branch | None]:
        """Map features to the projector's and the predictor's output at the points of the overlap.

        Args:
            features: (B, C, K, K) at the points if `position` is `before_projector`, otherwise (B, C, H, W).
            boxes, size: see `sample_boxes`.
            position: where the grid is laid (Table 4d).

        Returns:
            z (B, N, K, K), and the branch of p and z; None for the branch if there is no predictor.
        """
        z = applied(self.projector, features)
        if position == "after_projector":
            z = sample_boxes(z, boxes, size)
        p = applied(self.predictor, z) if self.predictor is not None else None
        if position == "after_predictor":
            z = sample_boxes(z, boxes, size)
            p = sample_boxes(p, boxes, size) if p is not None else None
        return z, (None if p is None else Branch(p, z))


class DenseSiam(DenseFeatures):
    """Encoder, neck, and the heads that the losses of a run need; `forward` returns the segmentation logits.

    A head whose loss is never active is not built. Without points (`grid_size` 0, or only the image loss), the network
    is that of SimSiam.

    Args:
        encoder: f, a dense pyramid.
        neck: makes the network that merges the pyramid, given the channels of the pyramid's maps.
        num_categories: N, channels of the projector.
        num_aux_categories: N_aux, channels of the auxiliary projector.
        grid_size: K; None for one point per cell of the neck's map, 0 for no pixels and no regions.
        grid_position: where the grid is laid (Table 4d).
        hidden_channels: hidden channels of the heads of pixels and regions; None for the number of the neck's channels,
            as in the release.
        image_channels, image_bottleneck: `channels` and `bottleneck` of the image-level branch, see `ImageHead`.
        global_region: the input of that branch, the whole view or the mean of the K x K points of the overlap (Table
            4e).
        losses: the losses that the run can use, out of `image`, `dense`, `aux`, `region` and `seg`.
        memory_format: see `DenseFeatures`.

    Attributes:
        losses: the losses among these that this network can compute.

    Raises:
        DenseSiamError: K is below 0, the grid position or the global region is unknown, or the global region is the
            overlap but there are no points.
    """

    def __init__(
        self,
        encoder: Encoder,
        neck: Callable[[Sequence[int]], Neck],
        num_categories: int,
        num_aux_categories: int = 128,
        grid_size: int | None = None,
        grid_position: GridPosition = "before_projector",
        hidden_channels: int | None = None,
        image_channels: int = 2048,
        image_bottleneck: int = 512,
        global_region: GlobalRegion = "image",
        losses: Collection[str] = (),
        memory_format: MemoryFormat = "contiguous",
    ) -> None:
        super().__init__(encoder, neck, grid_size, memory_format)
        check_int("model.num_categories", num_categories, low=2, high=MOST_CATEGORIES)
        check_int("model.num_aux_categories", num_aux_categories, low=2, high=MOST_CATEGORIES)
        if hidden_channels is not None:
            check_int("model.hidden_channels", hidden_channels, 1, MOST_CHANNELS, "or null for the neck's")
        check_int("model.image_channels", image_channels, 1, MOST_CHANNELS)
        check_int("model.image_bottleneck", image_bottleneck, 1, MOST_CHANNELS)
        check_choice("model.grid_position", grid_position, get_args(GridPosition))
        check_choice("model.global_region", global_region, get_args(GlobalRegion))
        if grid_size == 0 and global_region == "intersection":
            raise DenseSiamError(
                "global_region=intersection is the mean of K x K points, but grid_size is 0: set grid_size=7, and "
                "task.loss_weights.dense=0 for no pixel loss"
            )
        self.losses = frozenset(losses) & {"image"} if grid_size == 0 else frozenset(losses)
        self.num_categories, self.num_aux_categories = num_categories, num_aux_categories
        self.grid_position, self.global_region = grid_position, global_region
        width = self.neck.channels
        hidden = hidden_channels or width
        pixels = grid_size != 0 and self.losses != {"image"}
        self.head = DenseHead(width, hidden, num_categories, predicts="dense" in self.losses) if pixels else None
        self.aux_head = DenseHead(width, hidden, num_aux_categories, predicts=True) if "aux" in self.losses else None
        self.region_head = RegionHead(width, hidden) if "region" in self.losses else None
        self.image_head = ImageHead(width, image_channels, image_bottleneck) if "image" in self.losses else None

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W), uint8 or float in [0, 1], to logits (B, N, h, w) at the neck's stride."""
        return self._logits(images, self.head)

    def aux_logits(self, images: Tensor) -> Tensor:
        """Map images to logits (B, N_aux, h, w) of the auxiliary head."""
        return self._logits(images, self.aux_head)

    def _logits(self, images: Tensor, head: DenseHead | None) -> Tensor:
        if head is None:
            raise RuntimeError("built without this head")
        logits: Tensor = head.projector(self.features(images))
        return logits

    def projectors(self) -> dict[str, nn.Module]:
        """The projectors that give pseudo-categories: `main`, and `aux` if the network has it."""
        heads = {"main": self.head, "aux": self.aux_head}
        return {name: head.projector for name, head in heads.items() if head is not None}

    def heads(self) -> list[nn.Module]:
        given = (self.head, self.aux_head, self.region_head, self.image_head)
        return [head for head in given if head is not None]

    def view(self, images: Tensor, boxes: Tensor, with_regions: bool) -> View:
        """Compute one side of the Siamese network.

        Args:
            images: (B, 3, H, W) one view of each image.
            boxes: (B, 4) the place of the overlap in each view, see `src.geometry`.
            with_regions: whether RegionSim is active.
        """
        features = self.features(images)
        size = self.points(features)
        region_head = self.region_head if with_regions else None
        masks_only = self.losses == {"image", "region"}  # the projector then only computes RegionSim's masks
        head = None if masks_only and not with_regions else self.head
        grid_first = self.grid_position == "before_projector"
        overlap_only = self.global_region == "intersection" and self.image_head is not None
        is_sampled = (grid_first and head is not None) or region_head is not None or overlap_only
        sampled = sample_boxes(features, boxes, size) if is_sampled else features
        dense_input = sampled if grid_first else features

        z, image, dense, aux, region = None, None, None, None, None
        if head is not None:
            z, dense = head(dense_input, boxes, size, self.grid_position)
        if self.aux_head is not None:
            _, aux = self.aux_head(dense_input, boxes, size, self.grid_position)
        if region_head is not None:
            region = Branch(*region_head(z, sampled))
        if self.image_head is not None:
            image = Branch(*self.image_head((sampled if overlap_only else features).mean((2, 3))))
        return View(z, image, dense, aux, z if "seg" in self.losses else None, region)
