"""What frozen dense features are worth, without training: linear, k-NN and k-means probes on labelled images."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from src.checks import check_made
from src.errors import DenseSiamError
from src.evaluation.neighbours import NeighbourSettings
from src.evaluation.probing import ProbeSettings
from src.evaluation.protocol import EvaluationProtocol
from src.evaluation.scoring import Scoring
from src.metrics import Category
from src.models.dense import DenseFeatures
from src.tasks.base import Data
from src.tasks.probed_features import NEIGHBOURS, ProbedFeatures, Probes


class DenseProbe(ProbedFeatures):
    """Scores the features of an encoder that stays as it is; no parameter learns.

    Args:
        network: encoder and neck, which get no gradient.
        classes: the classes of the labels.
        linear_probe: how the linear probe is fitted, and on how many cells all probes are.
        neighbours: how labels are propagated.
        protocol: how the predictions are scored; its `matching` applies to k-means.

    Raises:
        DenseSiamError: a part is missing, or the data has no labels.
    """

    def __init__(
        self,
        network: DenseFeatures,
        classes: Sequence[Category],
        linear_probe: ProbeSettings,
        neighbours: NeighbourSettings,
        protocol: EvaluationProtocol,
    ) -> None:
        check_made("task.network", network, DenseFeatures, "model=features")
        check_made("task.linear_probe", linear_probe, ProbeSettings, "task=dense_probe")
        check_made("task.neighbours", neighbours, NeighbourSettings, "task=dense_probe")
        if not classes:
            raise DenseSiamError("a dense probe needs labels: expected data with them, such as data=labelled_folder")
        if network.encoder.align_corners:
            raise DenseSiamError(
                "model.encoder.align_corners is true, but probes read the labels of cells that cover the image: set it "
                "to false"
            )
        super().__init__(Scoring(classes, len(classes), "identity"), protocol, name="linear_probe")
        self.network, self.neighbours = network.requires_grad_(False), neighbours
        self.probes = Probes(classes, linear_probe, protocol.matching, neighbours)

    def prepare(self, data: Data, images: Iterable[Tensor] | None = None) -> None:
        super().prepare(data, images)
        if images is not None:
            self.network.fit_neck(images)

    def scored_on(self) -> dict[str, Any]:
        settings = self.neighbours
        told = f"the {settings.number} most similar labelled cells, temperature {settings.temperature}"
        return {**super().scored_on(), NEIGHBOURS: told}

    def pretrained_part(self) -> nn.Module:
        return self.network
