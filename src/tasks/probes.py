"""Probes on frozen dense features: cells drawn from labelled images, and a linear layer fitted on them.

`Pretrain` is scored by them. `LinearlyProbed` puts one beside the clusters of a network that segments, as STEGO
(Hamilton et al., ICLR 2022) and its successors report both.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any, TypedDict

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from src.checks import check_int, check_keys, check_number, check_seed
from src.errors import DenseSiamError
from src.evaluation.probing import Cells, LinearProbe, choose_l2, fit_linear, sample_cells
from src.evaluation.protocol import Protocol
from src.evaluation.scoring import Scoring
from src.metrics import Category
from src.models.dense import DenseFeatures
from src.tasks.base import ScoredModule


class ProbeSettings(TypedDict):
    """How the probes are fitted.

    Keys:
        cells_per_image: of the encoder's map that are drawn from each labelled image, at most.
        l2: of the linear probe, to choose from, see `choose_l2`.
        max_iterations: of its fit, see `fit_linear`.
        seed: of the draw and of k-means.
    """

    cells_per_image: int
    l2: Sequence[float]
    max_iterations: int
    seed: int


def check_probes(name: str, settings: Any) -> None:
    """Refuse settings of probes that are out of their range.

    Args:
        name: of them in the config.
        settings: see `ProbeSettings`.

    Raises:
        DenseSiamError: the first of them.
    """
    check_keys(name, settings, ProbeSettings.__annotations__)
    check_int(f"{name}.cells_per_image", settings["cells_per_image"], low=1)
    check_int(f"{name}.max_iterations", settings["max_iterations"], low=1)
    check_seed(f"{name}.seed", settings["seed"])
    if not isinstance(settings["l2"], list | tuple) or not settings["l2"]:
        raise DenseSiamError(f"{name}.l2 is {settings['l2']!r}: expected a list of numbers from 0, such as [0.01,0.1]")
    for number in settings["l2"]:
        check_number(f"{name}.l2", number, low=0)


@torch.no_grad()
def frozen_features(network: DenseFeatures, images: Tensor) -> Tensor:
    """f of images (B, 3, H, W) without autocast, so that probes are fitted and scored alike."""
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
        settings: how many, with which seed.
        device: of the features.

    Returns:
        the cells of all images, one image after another.
    """
    generator = torch.Generator().manual_seed(settings["seed"])
    drawn, unreadable = [], list[str]()
    for batch in batches:
        unreadable += filter(None, batch["unreadable"])
        mapped = features(batch["image"].to(device))
        label = batch["label"].to(device)
        drawn.append(sample_cells(mapped, label, num_classes, settings["cells_per_image"], generator))
    if unreadable:
        rank_zero_warn(f"{len(unreadable)} labelled image(s) left out of the probes; the first: {unreadable[0]}")
    return Cells(*(torch.cat(part) for part in zip(*drawn, strict=True)))


def fit_chosen(cells: Cells, settings: ProbeSettings) -> LinearProbe:
    """The linear probe with the penalty that `choose_l2` finds best.

    Raises:
        DenseSiamError: see `choose_l2`.
    """
    iterations = settings["max_iterations"]
    return fit_linear(cells, choose_l2(cells, settings["l2"], iterations), iterations)


class LinearlyProbed(ScoredModule):
    """A trained network's dense features, read off by one linear layer that is fitted when a validation begins.

    As in STEGO, one linear layer learns the labels of the training images by cross entropy on features that get no
    gradient from it, its logits are upsampled bilinearly, and its channels are the classes: nothing is matched. What
    differs: STEGO moves the layer by Adam (learning rate 5e-3) along with the network, pixel by pixel; here it is the
    optimum of that convex problem, with a penalty, for the finished network and the shares of the classes in each
    cell. It reads f, encoder and neck, which every method has, where STEGO's reads the code that its head makes of
    them. There is no CRF.

    Args:
        network: trained; it stays as it is.
        classes: of the labels.
        settings: see `ProbeSettings`.
        protocol: of scoring, but for its matching.
        name: what pictures and scores are called.
    """

    def __init__(
        self,
        network: DenseFeatures,
        classes: Sequence[Category],
        settings: ProbeSettings,
        protocol: Protocol,
        name: str,
    ) -> None:
        check_probes("linear_probe", settings)
        unmatched = copy(protocol)
        unmatched.release_blocks = False  # they are of matched clusters
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
        trainer: Any = self.trainer  # Lightning sets its datamodule without declaring it
        batches = trainer.datamodule.labelled_dataloader()
        features = partial(frozen_features, self.network)
        cells = labelled_cells(features, batches, len(self.scoring.classes), self.settings, self.device)
        self.probe = fit_chosen(cells, self.settings)
        self.share(self.probe)
