"""The overlap of two views, and reading features at the same places of both views (paper 3.2, Fig. 3).

The overlap is given in each view as an *oriented* box (x0, y0, x1, y1), in fractions of the view's width and height;
in a flipped view, x0 > x1. So a grid is a plain interpolation from corner to corner, and a flip is no special case.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

FULL = (0.0, 0.0, 1.0, 1.0)  # the box of a whole view


class Crop(NamedTuple):
    """A rectangle of the source image, in its pixels (fractions allowed), and whether the view shows it mirrored."""

    left: float
    top: float
    width: float
    height: float
    flip: bool = False

    def locate(self, x: float, y: float) -> tuple[float, float]:
        """Map a point of the source image, in pixels, to fractions of the view."""
        across = (x - self.left) / self.width
        return (1 - across if self.flip else across), (y - self.top) / self.height


def overlap_boxes(first: Crop, second: Crop, min_side: float = 0.0) -> tuple[Tensor, bool]:
    """Oriented box of the overlap of two crops, as each of the two views sees it.

    Args:
        first, second: the crops that the two views show of one source image.
        min_side: the overlap counts only if it is wider and higher than this fraction of the smaller crop's width and
            height.

    Returns:
        The boxes, (2, 4) float32 with rows (x0, y0, x1, y1), and whether there is enough overlap. If not, both boxes
        are the full view, so that they can be sampled without errors.
    """
    left, right = max(first.left, second.left), min(first.left + first.width, second.left + second.width)
    top, bottom = max(first.top, second.top), min(first.top + first.height, second.top + second.height)
    wide = right - left > min_side * min(first.width, second.width)
    high = bottom - top > min_side * min(first.height, second.height)
    if not (wide and high):
        return torch.tensor([FULL]).repeat(2, 1), False
    rows = [(*crop.locate(left, top), *crop.locate(right, bottom)) for crop in (first, second)]
    return torch.tensor(rows, dtype=torch.float32), True


def box_axes(boxes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Coordinates of the cell centres of a grid laid over each box.

    Args:
        boxes: (B, 4) oriented boxes in fractions of the view.
        size: number of grid rows and columns.

    Returns:
        x of each column (B, columns) and y of each row (B, rows), float32, in fractions of the view.
    """
    x0, y0, x1, y1 = boxes.float().unbind(1)
    rows, columns = ((torch.arange(n, device=boxes.device, dtype=torch.float32) + 0.5) / n for n in size)
    return x0[:, None] + (x1 - x0)[:, None] * columns, y0[:, None] + (y1 - y0)[:, None] * rows


def box_grid(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Points at the cell centres of a grid laid over each box.

    Args:
        boxes: (B, 4) oriented boxes in fractions of the view.
        size: number of grid rows and columns; (K, K) in the paper.

    Returns:
        (B, rows, columns, 2) float32 points (x, y) in fractions of the view. Point (i, j) of both views' grids
        shows the same place of the source image.
    """
    x, y = box_axes(boxes, size)
    return torch.stack((x[:, None, :].expand(-1, size[0], -1), y[:, :, None].expand(-1, -1, size[1])), dim=3)


def sample_boxes(features: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Read features on a grid over each box, by bilinear interpolation (GridSample of Fig. 2 and 3).

    Positions and interpolation are float32 for every dtype of the features, because bfloat16 resolves a coordinate near
    1 only to 1/256. Beyond the border, the values of the border are repeated. If the box is the full view and the grid
    has the size of the features, the result equals the features.

    A point is the weighted sum of four cells, which are rows of a table: `embedding_bag` sums them. On a CPU, it takes
    a third to half of the time of torch's `grid_sample`, and the time is linear in the number of points.

    Args:
        features: (B, C, H, W).
        boxes: (B, 4) oriented boxes in fractions of the view.
        size: number of grid rows and columns.

    Returns:
        (B, C, rows, columns), in the dtype of the features, differentiable with respect to the features; channels_last
        unless it is the features themselves.
    """
    height, width = features.shape[2:]
    if boxes.is_cpu and size == (height, width) and bool((boxes == boxes.new_tensor(FULL)).all()):
        return features  # not asked on a GPU, which would have to wait for the answer
    (columns, across), (rows, down) = (
        neighbours(axis, cells) for axis, cells in zip(box_axes(boxes, size), (width, height), strict=True)
    )
    starts = torch.arange(len(boxes), device=boxes.device, dtype=torch.int32)[:, None, None] * height
    cells = (starts + rows)[:, :, None, :, None] * width + columns[:, None, :, None, :]  # (B, rows, columns, 2, 2)
    shares = down[:, :, None, :, None] * across[:, None, :, None, :]
    table = features.float().permute(0, 2, 3, 1).flatten(0, 2).contiguous()
    values = F.embedding_bag(cells.view(-1, 4), table, mode="sum", per_sample_weights=shares.view(-1, 4))
    return values.view(len(boxes), *size, -1).permute(0, 3, 1, 2).to(features.dtype)


def neighbours(positions: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """The two cells of an axis between whose centres a position lies, and their weights for bilinear interpolation.

    Args:
        positions: (B, n) float32, in fractions of the axis; beyond the centres of the outer cells, these count alone.
        cells: number of cells.

    Returns:
        Indices of the cells, (B, n, 2) int32, and their weights, (B, n, 2), which sum to 1.
    """
    places = (positions * cells - 0.5).clamp(0, cells - 1)
    first = places.floor()
    share = places - first
    indices = torch.stack((first, (first + 1).clamp(max=cells - 1)), dim=2).int()
    return indices, torch.stack((1 - share, share), dim=2)
