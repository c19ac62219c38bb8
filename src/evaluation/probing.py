"""A linear probe on dense features: how well one linear layer predicts the labels from the maps of a frozen encoder.

The probe is multinomial logistic regression on the cells of the encoder's map. A cell is larger than a pixel, so its
target is the fraction of its pixels in every class, which uses all labels. The encoder is never trained on labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from src.buffers import Float32Buffers
from src.checks import check_int, check_number, check_seed
from src.clustering import sample_pixels
from src.errors import DenseSiamError
from src.metrics import class_iou, confusion_matrix

CONSTANT = 1e-6  # standard deviation / mean of a channel; smaller variation is rounding error


@dataclass(frozen=True)
class ProbeSettings:
    """How probes are fitted on frozen features.

    Attributes:
        cells_per_image: how many cells of the encoder's map are drawn from each labelled image, at most.
        l2: penalties of the linear probe to choose from, see `choose_l2`.
        max_iterations: of the fit of the linear probe, see `fit_linear`.
        seed: of the draw of cells and of k-means.

    Raises:
        DenseSiamError: a value out of its range.
    """

    cells_per_image: int
    l2: Sequence[float]
    max_iterations: int
    seed: int

    def __post_init__(self) -> None:
        check_int("linear_probe.cells_per_image", self.cells_per_image, low=1)
        check_int("linear_probe.max_iterations", self.max_iterations, low=1)
        check_seed("linear_probe.seed", self.seed)
        check_penalties(self.l2)


def check_penalties(l2: Any) -> None:
    """Refuse what is no list of penalties.

    Raises:
        DenseSiamError: it is empty or something else, or holds a number below 0.
    """
    if not isinstance(l2, list | tuple) or not l2:
        raise DenseSiamError(f"linear_probe.l2 is {l2!r}: expected a list of numbers from 0, such as [0.01,0.1]")
    for number in l2:
        check_number("linear_probe.l2", number, low=0)


class Cells(NamedTuple):
    """Cells of feature maps with their targets.

    Attributes:
        features: (M, C) float32.
        shares: (M, K) float32, the fraction of each class among the counted pixels of the cell; they sum to 1, or are
            all 0 if no pixel is counted.
        weight: (M,) float32, the fraction of the cell's pixels that are counted.
    """

    features: Tensor
    shares: Tensor
    weight: Tensor


def cell_targets(labels: Tensor, size: tuple[int, int], num_classes: int) -> tuple[Tensor, Tensor]:
    """The fraction of each class in each cell of a feature map.

    Args:
        labels: (B, H, W) integers, 0..num_classes-1; pixels of any other value, such as 255, are not counted.
        size: (h, w) of the map. If it does not divide (H, W), neighbouring cells overlap by a pixel, as in adaptive
            pooling.
        num_classes: K.

    Returns:
        ``shares`` (B, h, w, K) and ``weight`` (B, h, w) as in `Cells`, on the device of ``labels``.
    """
    # One class at a time, because the one-hot labels of a batch would be larger than its images.
    pooled = torch.stack([F.adaptive_avg_pool2d((labels == k).float(), size) for k in range(num_classes)], dim=-1)
    weight = pooled.sum(dim=-1)
    return pooled / torch.where(weight > 0, weight, 1)[..., None], weight


def sample_cells(
    features: Tensor, labels: Tensor, num_classes: int, per_image: int, generator: torch.Generator
) -> Cells:
    """Draw `per_image` cells of every image without replacement, or take all cells if there are not more.

    Args:
        features: (B, C, h, w).
        labels: (B, H, W), see `cell_targets`.
        num_classes: K.
        per_image: cells per image, at least 1.
        generator: source of randomness, on the CPU.

    Returns:
        B * min(per_image, h * w) cells, first those of image 0.
    """
    channels, height, width = features.shape[1:]
    shares, weight = cell_targets(labels, (height, width), num_classes)
    together = torch.cat([features.float(), shares.permute(0, 3, 1, 2), weight[:, None]], dim=1)
    rows = sample_pixels(together, min(per_image, height * width), generator)
    return Cells(rows[:, :channels], rows[:, channels:-1], rows[:, -1])


class LinearProbe(Float32Buffers):
    """A linear classifier at each position: features (B, C, h, w) of any floating dtype -> logits (B, K, h, w) float32.

    ``weight`` (K, C) and ``bias`` (K,) are buffers: they are saved, not trained, and stay float32.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().float().clone())
        self.register_buffer("bias", bias.detach().float().clone())

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return F.conv2d(features.float(), self.weight[:, :, None, None], self.bias)


def fit_linear(cells: Cells, l2: float, max_iterations: int) -> LinearProbe:
    """Fit multinomial logistic regression by full-batch L-BFGS in float64. The fit is deterministic.

    The objective is the weighted mean of the cross entropy over the cells, plus ``l2 / 2`` times the sum of the squared
    weights (without the bias). The fit uses features that are standardised per channel; the result is converted back,
    so that the probe takes the original features. A channel that does not vary gets the weight 0.

    Args:
        cells: the cells to fit on; cells of weight 0 are left out.
        l2: strength of the L2 penalty on the weights of the standardised features, >= 0.
        max_iterations: maximal number of iterations of L-BFGS.

    Returns: a probe on the device of the features.

    Raises:
        DenseSiamError: no cell has a counted pixel, or a feature is not finite.
    """
    counted = cells.weight > 0
    rows, broken = int(counted.sum()), int((~cells.features[counted].isfinite().all(dim=1)).sum())
    if not rows:
        raise DenseSiamError(
            f"expected labelled cells for the probe, found none among {len(counted)}: give readable images whose "
            "labels are not 255 throughout"
        )
    if broken:
        raise DenseSiamError(
            f"expected finite features for the probe, found {broken} of {rows} rows with nan or inf: "
            "check the checkpoint and the precision"
        )
    device = cells.features.device.type
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, enabled=False):
        features, shares, weight = (part[counted].detach().double() for part in cells)
        mean, std = features.mean(dim=0), features.std(dim=0, correction=0)
        scale = torch.where(std > CONSTANT * mean.abs(), std, torch.inf)
        features, weight = (features - mean) / scale, weight / weight.sum()
        learned = features.new_zeros(shares.shape[1], len(mean) + 1, requires_grad=True)  # the last column is the bias
        optimizer = torch.optim.LBFGS(
            [learned], max_iter=max_iterations, tolerance_grad=1e-7, line_search_fn="strong_wolfe"
        )

        def objective() -> Tensor:
            optimizer.zero_grad()
            logits = F.linear(features, learned[:, :-1], learned[:, -1])
            entropy = -(shares * logits.log_softmax(dim=1)).sum(dim=1)
            value = entropy @ weight + l2 / 2 * learned[:, :-1].square().sum()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimizer.step(objective)  # type: ignore[no-untyped-call]
    folded = learned[:, :-1] / scale
    return LinearProbe(folded, learned[:, -1] - folded @ mean)


def choose_l2(cells: Cells, candidates: Sequence[float], max_iterations: int) -> float:
    """Choose the strength of the L2 penalty: fit on the first three quarters of the cells, compare mIoU on the rest.

    The best strength depends on the encoder. The images that are scored have no influence on the choice.

    Args:
        cells: cells of all images, image by image, so that at most one image is on both sides.
        candidates: one or more values of `l2`, see `fit_linear`. A single candidate is returned without a fit; if
            several have the highest mIoU, the first of them is returned.
        max_iterations: see `fit_linear`.

    Raises:
        DenseSiamError: a fit fails, see `fit_linear`.
    """
    if len(candidates) == 1:
        return candidates[0]
    cut, classes = len(cells.features) * 3 // 4, cells.shares.shape[1]
    fitted_on, held_out = Cells(*(part[:cut] for part in cells)), Cells(*(part[cut:] for part in cells))
    counted = held_out.weight > 0
    features, truth = held_out.features[counted].mT[None, :, :, None], held_out.shares[counted].argmax(1)
    scores = []
    for l2 in candidates:
        prediction = fit_linear(fitted_on, l2, max_iterations)(features).argmax(1).flatten()
        confusion = confusion_matrix(truth, prediction, classes, classes, ignore_index=-1)
        scores.append(class_iou(confusion, torch.arange(classes)).nanmean().item())
    return candidates[scores.index(max(scores))]
