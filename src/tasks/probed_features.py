"""Tasks that are scored by probes on frozen dense features, fitted when a validation begins."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.clustering import NearestCentroid, fit_centroids
from src.errors import DenseSiamError
from src.evaluation.inference import protocol_logits
from src.evaluation.neighbours import NearestCells, NeighbourSettings
from src.evaluation.probing import Cells, ProbeSettings
from src.evaluation.scoring import Scoring
from src.metrics import AnyMatching, Category
from src.models.dense import DenseFeatures
from src.tasks.pixels import PixelTask
from src.tasks.probes import fit_chosen, frozen_features, labelled_cells

KMEANS, NEIGHBOURS = "k-means", "k-NN"


class Probes(nn.Module):
    """The probes of a task, and what counts their predictions. The linear probe is counted by the task itself.

    Args:
        classes: the classes of the labels.
        settings: of the linear probe and of the cells that all probes read.
        matching: how clusters of k-means are matched to classes; there are as many of both.
        neighbours: of k-NN label propagation; None for none.

    Attributes:
        fitted: the probes by name; empty before the first validation. "" is the linear probe.
        scorings: what counts the other probes.
    """

    def __init__(
        self,
        classes: Sequence[Category],
        settings: ProbeSettings,
        matching: AnyMatching,
        neighbours: NeighbourSettings | None = None,
    ) -> None:
        super().__init__()
        self.num_classes, self.settings = len(classes), settings
        ways: dict[str, Callable[[Cells], nn.Module]] = {"": partial(fit_chosen, settings=settings)}
        scorings = {}
        if neighbours is not None:
            ways[NEIGHBOURS] = partial(NearestCells, settings=neighbours)
            scorings[NEIGHBOURS] = Scoring(classes, len(classes), "identity")
        ways[KMEANS] = partial(fit_kmeans, num_clusters=len(classes), seed=settings.seed)
        scorings[KMEANS] = Scoring(classes, len(classes), matching)
        self.ways, self.scorings = ways, nn.ModuleDict(scorings)
        self.fitted: dict[str, nn.Module] = {}

    def fit(self, cells: Cells) -> None:
        """Fit all probes on the same cells."""
        self.fitted = {name: fit(cells).to(cells.features.device) for name, fit in self.ways.items()}


class ProbedFeatures(PixelTask):
    """A task whose network's features are probed; a mixin, which comes first among the bases.

    The probes read only the features f, and give them no gradient. The linear probe learns from labels, and its scores
    are those of the task. k-NN label propagation gives a cell the labels of similar cells. k-means has as many clusters
    as there are classes. Only cells that hold a pixel with a class are read.

    Attributes:
        network: the network whose features are probed.
        probes: the probes.
    """

    network: DenseFeatures
    probes: Probes

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W), uint8 or float in [0, 1], to the linear probe's logits (B, classes, h, w)."""
        if not self.probes.fitted:
            raise RuntimeError("the probes are fitted when a validation begins")
        logits: Tensor = self.probes.fitted[""](frozen_features(self.network, images))
        return logits

    def probed_network(self) -> DenseFeatures | None:
        return None

    @property
    def extra_scorings(self) -> dict[str, Scoring]:
        found: Any = dict(self.probes.scorings.items())
        return dict(found)

    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()
        batches = self.given_data().labelled_dataloader()
        if batches is None:
            raise DenseSiamError(
                "features are scored by probes, and probe=none gives them nothing to be fitted on: set "
                "probe=own_labels, probe=labelled_folder probe.root=DIR, or probe=unscored"
            )
        features = partial(frozen_features, self.network)
        self.probes.fit(labelled_cells(features, batches, self.probes.num_classes, self.probes.settings, self.device))
        for probe in self.probes.fitted.values():
            self.broadcast_buffers(probe)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Count the predictions of all probes on a batch; returns the classes (B, h, w) of the linear probe."""

        def stacked(images: Tensor) -> Tensor:  # so that the features are computed once for all probes
            features = frozen_features(self.network, images)
            return torch.cat([probe(features) for probe in self.probes.fitted.values()], dim=1)

        logits = protocol_logits(stacked, batch["image"], self.protocol, self.align_corners)
        parts = dict(zip(self.probes.fitted, torch.split(logits, self.probes.num_classes, dim=1), strict=True))
        for name, scoring in self.extra_scorings.items():
            self.count(scoring, parts[name], batch)
        return self.count(self.scoring, parts[""], batch)

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        for name, scoring in self.extra_scorings.items():
            logged = f"{name.replace('-', '').lower()}_probe"
            self.log_dict({f"{logged}/{key}": value for key, value in scoring.compute().items()})


def fit_kmeans(cells: Cells, num_clusters: int, seed: int) -> nn.Module:
    """k-means on the directions of the cells that hold a pixel with a class."""
    rows = F.normalize(cells.features[cells.weight > 0], dim=1)
    return nn.Sequential(Normalised(), NearestCentroid(fit_centroids(rows, num_clusters, seed)))


class Normalised(nn.Module):
    """Features scaled to length 1 at each place: (B, C, h, w) -> (B, C, h, w)."""

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize(features.float(), dim=1)
