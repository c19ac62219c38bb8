"""Logs what can be said of a training run without labels."""

from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from src.monitoring.label_free import PairStatistics

BRANCH = "dense"  # the one whose channels are the pseudo-categories, at the same places of both views


class LabelFreeCriteria(Callback):
    """Logs `label_free/...` after each training epoch, see `src.monitoring.label_free.Criteria`.

    It reads what the dense branch gave for both views during the epoch, in training mode and on augmented views: from
    the `embeddings` that a training step returns beside its loss. A method without that branch, and an epoch without a
    pair that overlaps, leave nothing. All processes count together. When a run is resumed within an epoch, that epoch's
    numbers are of the part since then.

    Attributes:
        last: the last epoch's values by their names; empty before the first.
    """

    def __init__(self) -> None:
        self.last: dict[str, float] = {}
        self.statistics: PairStatistics | None = None

    def state_dict(self) -> dict[str, dict[str, float]]:
        return {"last": dict(self.last)}

    def load_state_dict(self, state_dict: dict[str, dict[str, float]]) -> None:
        self.last = dict(state_dict["last"])

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.statistics = None

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
    ) -> None:
        if BRANCH not in outputs["embeddings"]:
            return
        first, second = outputs["embeddings"][BRANCH]
        if self.statistics is None:
            self.statistics = PairStatistics(first.shape[-1], first.device)
        self.statistics.add(first, second, batch["valid"])

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        def summed(value: Tensor) -> Tensor:
            total: Tensor = trainer.strategy.reduce(value, reduce_op="sum")
            return total

        statistics, self.statistics = self.statistics, None
        found = None if statistics is None else statistics.criteria(summed)
        if found is not None:
            self.last = found._asdict()
            pl_module.log_dict({f"label_free/{name}": value for name, value in self.last.items()})
