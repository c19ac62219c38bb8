"""What PiCIE and modified DeepCluster share: their categories are k-means clusters of the network's own features.

Each epoch begins with two passes, without training, over the pairs of views of that epoch: the first fits k-means
on some of them, the second gives every point of all of them its cluster. The centroids are then the
classifier, which has no parameters. A pair depends only on (seed, epoch, index), so it is the same in all passes, and
the clusters of its points can be kept in memory.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.baselines.centroids import Centroids
from src.baselines.scored_heads import check_scored_head, head_weights
from src.checks import check_choice, check_int, check_made, check_number, check_seed
from src.clustering import Backend, check_backend, fit_centroids, some_pixels
from src.errors import DenseSiamError
from src.evaluation.protocol import EvaluationProtocol
from src.evaluation.scoring import Scoring
from src.losses import WEIGHTINGS, Weighting, category_weights
from src.metrics import Category
from src.models.dense import DenseFeatures
from src.models.segmentation import CosineHead, SegmentationNetwork
from src.optim import MakeOptimizer, check_optimizer
from src.tasks.merged import MergedTask
from src.tasks.showing import evaluating
from src.winners import winners


@dataclass(frozen=True)
class Clustering:
    """How features are clustered.

    Attributes:
        share: the share of an epoch's images that k-means is fitted on, above 0 to 1; at least one batch is used.
        pixels_per_image: the most pixels that are drawn from each view of these images.
        scored_images: the most training images that the clusters for scoring are fitted on.
        backend: `torch`, `sklearn` or `faiss`, see `fit_centroids`.
        seed: the seed for drawing pixels and for k-means.

    Raises:
        DenseSiamError: a value is out of its range.
    """

    share: float
    pixels_per_image: int
    scored_images: int
    backend: Backend
    seed: int

    def __post_init__(self) -> None:
        check_number("task.clustering.share", self.share, above=0, high=1)
        check_int("task.clustering.pixels_per_image", self.pixels_per_image, low=1)
        check_int("task.clustering.scored_images", self.scored_images, low=1)
        check_seed("task.clustering.seed", self.seed)
        check_backend("task.clustering.backend", self.backend)


class ClusteredTask(MergedTask):
    """Trains features towards the centroids of their own clusters; the subclass compares the views.

    Before a validation, k-means is fitted again on whole training images, as PiCIE does for its final scores, because
    the features have changed since the centroids of the epoch were fitted.

    Args:
        network: encoder, neck and grid.
        num_categories, num_aux_categories: numbers of clusters of the main and of the over-clustering head.
        classes: the classes of the labels, for scoring only.
        loss_weights: the weights of the heads `main` and `aux`: numbers, or `balanced` (log-balanced as in Eq. 8).
        balance: how the clusters are weighted in the cross entropy.
        clustering: how the features are clustered.
        optimizer: makes the optimiser from groups of parameters.
        protocol: how the predictions are scored.

    Attributes:
        views: which of the two views are clustered, each by itself.
        method: the name under which the scores are logged.
        clock: returns the time in seconds; `clustering_seconds` is measured with it.

    Raises:
        DenseSiamError: a weight or the weighting is unknown, the scored head has no weight, or the groups of merged
            clusters are to be fixed; during training, see `PairTask` and `fit_centroids`.
    """

    views: ClassVar[tuple[int, ...]]
    method: ClassVar[str]

    def __init__(
        self,
        network: DenseFeatures,
        num_categories: int,
        num_aux_categories: int,
        classes: Sequence[Category],
        loss_weights: Mapping[str, float | Literal["balanced"]],
        balance: Weighting,
        clustering: Clustering,
        optimizer: MakeOptimizer,
        protocol: EvaluationProtocol,
    ) -> None:
        check_choice("task.balance", balance, WEIGHTINGS)
        check_made("task.clustering", clustering, Clustering, "task=picie")
        check_optimizer(optimizer)
        check_made("task.network", network, DenseFeatures, "model=segmentation")
        weights = head_weights(loss_weights, num_categories, num_aux_categories)
        check_scored_head(protocol, weights)
        clusters = {"main": num_categories, "aux": num_aux_categories}
        scoring = Scoring(classes, (clusters | {"merged": num_categories})[protocol.head], protocol.matching)
        super().__init__(network, weights, scoring, protocol, self.method)
        self.balance: Weighting = balance
        self.clustering, self.optimizer = clustering, optimizer
        width = network.neck.channels
        self.centroids = nn.ModuleDict(
            {head: Centroids(len(self.views), clusters[head], width) for head in sorted(weights)}
        )
        self.merge(clusters, "aux" in weights)
        if self.merging is not None and protocol.groups == "fixed":
            raise DenseSiamError(
                "protocol.groups is fixed, but clusters are fitted anew before validations: set protocol.groups=anew"
            )
        self.scored = nn.ModuleDict({head: Centroids(1, clusters[head], width) for head in sorted(weights)})
        self.assigned: dict[str, dict[int, Tensor]] = {}
        self.clock: Callable[[], float] = time.perf_counter

    @property
    def heads(self) -> dict[str, Centroids]:
        """The classifiers of the epoch, by the names of the heads."""
        return {head: cast(Centroids, centroids) for head, centroids in self.centroids.items()}

    def head_logits(self, features: Tensor, head: str) -> Tensor:
        """Similarities with the centroids that were fitted for the last validation."""
        return self.scored_head(head)(features)

    def scored_head(self, head: str) -> CosineHead:
        """The centroids that were fitted for the last validation, as a head."""
        return CosineHead(cast(Centroids, self.scored[head]).points[0])

    def upgraded(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Task.upgraded`; older versions fitted centroids for the scored head alone, and without its name."""
        found = super().upgraded(state)
        if "scored.points" not in found:
            return found
        own, shape = self.scored.state_dict(prefix="scored."), found["scored.points"].shape
        fitting = [
            head for head in ("main", "aux") if head in self.scored and own[f"scored.{head}.points"].shape == shape
        ]
        if not fitting:
            return found
        return {**own, **{re.sub(r"^scored\.", f"scored.{fitting[0]}.", name): value for name, value in found.items()}}

    def deployed(self) -> SegmentationNetwork:
        """Encoder and neck, with the centroids that were fitted for the last validation, and the merged categories.

        Raises:
            DenseSiamError: there has been no validation yet.
        """
        fitted = [head for head, centroids in self.scored.items() if cast(Centroids, centroids).points.any()]
        if not fitted:
            raise DenseSiamError("it has no clusters yet: expected a checkpoint that was written after a validation")
        heads = {head: self.scored_head(head) for head in fitted}
        categories = {head: len(one.centroids) for head, one in heads.items()}
        merged = {} if self.merging is None else {"merged": self.merging.number}
        return SegmentationNetwork(self.network, self.with_merged_head(heads), categories | merged)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        if not self.assigned:  # Lightning starts no epoch where a run is resumed in the middle of one
            self.on_train_epoch_start()
        for centroids in self.scored.values():
            cast(Centroids, centroids).current.fill_(False)
        return super().training_step(batch, batch_idx)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer([{"params": self.network.parameters()}])

    def at_points(self, batch: dict[str, Any], side: int) -> Tensor:
        """Features of one view at the points of the overlap, scaled to length 1: (B, C, K, K) float32."""
        return F.normalize(self.network.overlap(batch["views"][side], batch["boxes"][:, side]).float(), dim=1)

    def labels(self, head: str, batch: dict[str, Any]) -> Tensor:
        """Clusters of a batch's points, assigned when the epoch began: (B, views, K, K) int64.

        A run that is resumed within an epoch clusters again, with the network of the checkpoint.
        """
        kept = [self.assigned[head][index] for index in batch["index"].tolist()]
        return torch.stack(kept).to(self.device, torch.int64)

    @torch.no_grad()
    def on_train_epoch_start(self) -> None:
        """Cluster the features of the pairs that this epoch trains on."""
        started = self.clock()
        self.fit_centroids()
        counts = self.assign()
        for head, centroids in self.heads.items():
            centroids.weights.copy_(torch.stack([category_weights(one, self.balance) for one in counts[head]]))
        self.clustering_seconds += self.clock() - started

    def pairs(self, share: float) -> Iterable[dict[str, Any]]:
        """The first batches that this process trains on in this epoch, on its device, as training steps get them."""
        loader = self.given_data().pairs_dataloader(self.current_epoch)
        wanted = max(1, round(share * self.trainer.num_training_batches))
        return map(self.trainer.strategy.batch_to_device, islice(loader, wanted))

    def fit_centroids(self) -> None:
        """Fit k-means on points of some of the epoch's pairs, for each clustered view and each head."""
        settings = self.clustering
        generator = torch.Generator().manual_seed(settings.seed + self.current_epoch)
        drawn: list[list[Tensor]] = [[] for _ in self.views]
        for batch in self.pairs(settings.share):
            for place, side in enumerate(self.views):
                drawn[place].append(some_pixels(self.at_points(batch, side), settings.pixels_per_image, generator))
        for place, rows in enumerate(drawn):
            everywhere = cast(Tensor, self.all_gather(torch.cat(rows))).flatten(0, -2)
            for centroids in self.heads.values():
                number = centroids.points.shape[1]
                found = fit_centroids(everywhere, number, settings.seed, settings.backend)
                centroids.points[place] = F.normalize(found, dim=1).to(self.device)

    def assign(self) -> dict[str, Tensor]:
        """Assign a cluster to every point of the epoch's pairs; returns the counts (views, N) of each head."""
        self.assigned = {head: {} for head in self.centroids}
        counts = {head: torch.zeros_like(centroids.weights) for head, centroids in self.heads.items()}
        for batch in self.pairs(1.0):
            features = [self.at_points(batch, side) for side in self.views]
            for head, centroids in self.heads.items():
                won = torch.stack([winners(centroids.logits(one, place)) for place, one in enumerate(features)], dim=1)
                kind = torch.uint8 if centroids.points.shape[1] <= 256 else torch.int16
                for index, clusters in zip(batch["index"].tolist(), won.to("cpu", kind), strict=True):
                    self.assigned[head][index] = clusters  # (views, K, K)
                for place in range(len(self.views)):
                    valid = won[batch["valid"], place].flatten()
                    counts[head][place] += torch.bincount(valid, minlength=counts[head].shape[1])
        return {head: self.mean_over_processes(count) for head, count in counts.items()}

    def weighted_mean(self, logits: Tensor, labels: Tensor, weights: Tensor, valid: Tensor) -> Tensor:
        """Weighted cross entropy over the points of the valid images of all processes; see `weighted_cross_entropy`."""
        values, weight = weighted_cross_entropy(logits, labels, weights)
        return self.mean_over_images(values, valid) / self.mean_over_processes(
            self.mean_over_images(weight, valid)
        ).clamp_min(torch.finfo(torch.float32).tiny)

    def find_groups(self) -> None:
        with evaluating(self):
            self.fit_scored()
        super().find_groups()

    def fit_scored(self) -> None:
        """Fit the clusters that are scored and deployed, unless they were fitted at just these weights."""
        stale = [one for one in map(partial(cast, Centroids), self.scored.values()) if not one.current]
        if not stale:
            return
        settings = self.clustering
        generator = torch.Generator().manual_seed(settings.seed)
        rows = []
        for images in self.given_data().whole_train_dataloader(settings.scored_images, generator):
            features = F.normalize(self.network.features(images.to(self.device)).float(), dim=1)
            rows.append(some_pixels(features, settings.pixels_per_image, generator))
        for centroids in stale:
            found = fit_centroids(torch.cat(rows), centroids.points.shape[1], settings.seed, settings.backend)
            centroids.points[0] = F.normalize(found, dim=1).to(self.device)
            centroids.current.fill_(True)
        self.broadcast_buffers(self.scored)


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy in which each label has a weight, and the weights by which it is divided later.

    torch's own weighted cross entropy divides the sum of the first over a batch by the sum of the second. Here, a batch
    may be distributed over processes and hold images without an overlap, so the caller divides.

    Args:
        logits: (B, N, K, K); labels: (B, K, K) int64, from 0 to N - 1; weights: (N,), one for each label.

    Returns:
        (B,) weighted cross entropy and (B,) weight, each averaged over the points of an image.
    """
    chosen = weights[labels]
    per_point = chosen * F.cross_entropy(logits.float(), labels, reduction="none")
    return per_point.flatten(1).mean(1), chosen.flatten(1).mean(1)
