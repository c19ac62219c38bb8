"""Probes on frozen dense features: a linear layer that is fitted on cells drawn from labelled images.

They score `Pretrain`. `LinearlyProbed` scores a segmentation network with a probe, in addition to its clusters: STEGO
(Hamilton et al., ICLR 2022) and its successors report both scores.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from src.evaluation.probing import Cells, LinearProbe, ProbeSettings, choose_l2, fit_linear, sample_cells
from src.evaluation.protocol import EvaluationProtocol
from src.evaluation.scoring import Scoring
from src.metrics import Category
from src.models.dense import DenseFeatures
from src.tasks.pixels import PixelTask


@torch.no_grad()
def frozen_features(network: DenseFeatures, images: Tensor) -> Tensor:
    """The features f of images (B, 3, H, W) without autocast, so that probes are fitted and scored on equal values."""
    with torch.autocast(images.device.type, enabled=False):
        features: Tensor = network.features(images)
    return features


def labelled_cells(
    features: Callable[[Tensor], Tensor],
    batches: Iterable[Mapping[str, Any]],
    num_classes: int,
    settings: ProbeSettings,
    device: torch.device,
) -> Cells:
    """Draw the cells that probes are fitted on, and warn of images that could not be read.

    Args:
        features: maps images (B, 3, H, W) to (B, C, h, w).
        batches: labelled images, {"image": (B, 3, H, W), "label": (B, H, W), "unreadable": a reason or "" for each}.
        num_classes: K.
        settings: how many cells are drawn, and with which seed.
        device: the device on which the features are computed.

    Returns:
        the cells of all images, one image after another.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    drawn, unreadable = [], list[str]()
    for batch in batches:
        unreadable += filter(None, batch["unreadable"])
        mapped = features(batch["image"].to(device))
        label = batch["label"].to(device)
        drawn.append(sample_cells(mapped, label, num_classes, settings.cells_per_image, generator))
    if unreadable:
        rank_zero_warn(f"{len(unreadable)} labelled image(s) left out of the probes; the first: {unreadable[0]}")
    return Cells(*(torch.cat(part) for part in zip(*drawn, strict=True)))


def fit_chosen(cells: Cells, settings: ProbeSettings) -> LinearProbe:
    """Fit the linear probe with the penalty that `choose_l2` finds best.

    Raises:
        DenseSiamError: see `choose_l2`.
    """
    iterations = settings.max_iterations
    return fit_linear(cells, choose_l2(cells, settings.l2, iterations), iterations)


class LinearlyProbed(PixelTask):
    """Predicts classes from a trained network's dense features by one linear layer, fitted when a validation begins.

    As in STEGO, one linear layer learns the labels of the training images by cross entropy. The features get no
    gradient from it. Its logits are upsampled bilinearly, and its channels are the classes, so nothing is matched.
    There are three differences. STEGO trains the layer by Adam (learning rate 5e-3) on pixels, together with the
    network; here the layer is the optimum of the convex problem with a penalty, on the shares of the classes in each
    cell, for the finished network. STEGO's layer reads the output of its head; ours reads f, the output of encoder and
    neck, which every method has. We use no CRF.

    Args:
        network: the trained network; it is not changed.
        classes: the classes of the labels.
        settings: see `ProbeSettings`.
        protocol: how the predictions are scored; its matching is not used.
        name: the name under which pictures and scores are logged.
    """

    def __init__(
        self,
        network: DenseFeatures,
        classes: Sequence[Category],
        settings: ProbeSettings,
        protocol: EvaluationProtocol,
        name: str,
    ) -> None:
        unmatched = copy(protocol)
        unmatched.release_blocks = False  # the release computes them for matched clusters only
        super().__init__(Scoring(classes, len(classes), "identity"), unmatched, name)
        self.network, self.settings = network, settings
        self.probe: LinearProbe | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W), uint8 or float in [0, 1], to the probe's logits (B, classes, h, w)."""
        if self.probe is None:
            raise RuntimeError("the probe is fitted when a validation begins")
        logits: Tensor = self.probe(frozen_features(self.network, images))
        return logits

    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()
        batches = self.given_data().labelled_dataloader()
        if batches is None:
            raise RuntimeError("the data has no labelled images to fit a probe on")
        features = partial(frozen_features, self.network)
        cells = labelled_cells(features, batches, len(self.scoring.classes), self.settings, self.device)
        self.probe = fit_chosen(cells, self.settings)
        self.broadcast_buffers(self.probe)
