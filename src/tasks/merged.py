"""Over-clusterings whose merged categories are scored and deployed: DenseSiam's, PiCIE's, IIC's and prototypes."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from src.errors import DenseSiamError
from src.evaluation.inference import protocol_logits
from src.evaluation.scoring import Scoring
from src.models.merged import Grouping, Merging
from src.tasks.pairs import PairTask
from src.tasks.showing import evaluating
from src.tasks.siamese import epochs_of

MOST_IMAGES = 500  # training images on which the groups are found, at most


class MergedTask(PairTask):
    """A task whose network may have an over-clustering, `aux`, which is also scored as `merged` categories.

    The groups are found without labels on whole training images, see `src.merging`: before a validation, if the weights
    have changed, or once before training with `protocol.groups=fixed`.

    Attributes:
        merging: merges the over-clustering; None without one, or if it has fewer categories than are to be found.
        merged_scoring: counts the merged categories beside the head that the protocol scores; None if it is that head.
    """

    merging: Merging | None
    merged_scoring: Scoring | None

    @abstractmethod
    def head_logits(self, features: Tensor, head: str) -> Tensor:
        """Map the network's features (B, C, h, w) to the logits (B, N, h, w) of the head `main` or `aux`.

        Those of `aux` have S x M channels if it consists of S sets of M categories.
        """

    def merge(self, categories: Mapping[str, int], available: bool, sets: int = 1) -> None:
        """Add what merges the over-clustering; to be called once, when the task is built.

        Args:
            categories: numbers of categories of the heads: those of `main` are found by merging those of `aux`.
            available: whether there is an over-clustering.
            sets: S.

        Raises:
            DenseSiamError: merged categories are to be scored, but nothing can be merged.
        """
        number, most = categories["main"], categories["aux"]
        found, scored = available and most >= number, self.protocol.head == "merged"
        if scored and not found:
            raise DenseSiamError(
                "protocol.head is merged, but there is no over-clustering with enough categories: give "
                "task.loss_weights.aux a weight and model.num_aux_categories at least model.num_categories, or score "
                "protocol.head=main"
            )
        self.merging = Merging(number, most, sets) if found else None
        beside = found and not scored
        self.merged_scoring = Scoring(self.scoring.classes, number, self.protocol.matching) if beside else None

    def upgraded(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Task.upgraded`; the groups of an older checkpoint are not found yet."""
        if self.merging is None or any(name.startswith("merging.") for name in state):
            return super().upgraded(state)
        return {**super().upgraded(state), **self.merging.state_dict(prefix="merging.")}

    @property
    def extra_scorings(self) -> dict[str, Scoring]:
        return {} if self.merged_scoring is None else {"merged": self.merged_scoring}

    def readout(self, features: Tensor, head: str) -> Tensor:
        """Map features (B, C, h, w) to the logits of a head, `merged` included."""
        if head != "merged":
            return self.head_logits(features, head)
        assert self.merging is not None
        merged: Tensor = self.merging(self.head_logits(features, "aux"))
        return merged

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W), uint8 or float in [0, 1], to the logits (B, N, h, w) of the head to be scored."""
        return self.readout(self.network.features(images), self.protocol.head)

    def with_merged(self, images: Tensor) -> Tensor:
        """The logits of the head to be scored and of the merged categories, one after the other in the channels."""
        features = self.network.features(images)
        return torch.cat([self.readout(features, head).float() for head in (self.protocol.head, "merged")], 1)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        if self.merged_scoring is None:
            return super().validation_step(batch, batch_idx)
        both = protocol_logits(self.with_merged, batch["image"], self.protocol)
        number = self.scoring.num_clusters
        self.count(self.merged_scoring, both[:, number:], batch)
        return self.count(self.scoring, both[:, :number], batch)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        if self.merging is not None and self.protocol.groups == "anew":
            self.merging.current.fill_(False)
        return super().training_step(batch, batch_idx)

    def on_train_start(self) -> None:
        super().on_train_start()
        if self.protocol.groups == "fixed":
            self.find_groups()

    def on_train_epoch_end(self) -> None:
        super().on_train_epoch_end()
        if self.trainer.checkpoint_callbacks and self.current_epoch + 1 == epochs_of(self.trainer):
            self.find_groups()  # so that the last checkpoint has them, whether this epoch is scored or not

    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()
        self.find_groups()

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        if self.merged_scoring is not None:
            summary = self.merged_scoring.compute()
            self.log_dict({f"{self.name}_merged/{key}": value for key, value in summary.items()})

    def training_picture(self, count: int) -> Image.Image | None:
        self.find_groups()
        return super().training_picture(count)

    def find_groups(self) -> None:
        """Find the groups, unless they were found for the present weights; a collective call.

        A task whose over-clustering is fitted, too, fits it first.
        """
        if self.merging is None or self.merging.current:
            return
        generator = torch.Generator().manual_seed(0)  # fixed, because the choice of images hardly matters
        grouping = Grouping(self.merging, generator)
        with evaluating(self), self.trainer.precision_plugin.forward_context():
            for images in self.given_data().whole_train_dataloader(MOST_IMAGES, generator):
                features = self.network.features(images.to(self.device))
                grouping.add(features, self.head_logits(features, "aux"))
            grouping.fit()
        self.broadcast_buffers(self.merging)

    def with_merged_head(self, heads: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
        """The heads of the deployed network, the scored one first: these, and `merged` if its groups were found."""
        found = dict(heads)
        if self.merging is not None and self.merging.current and "aux" in heads:
            found["merged"] = nn.Sequential(heads["aux"], self.merging)
        order = (self.protocol.head, "main", "aux", "merged")
        return {name: found[name] for name in sorted(found, key=order.index)}
