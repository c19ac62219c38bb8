"""Logging of label-free metrics during training."""

from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from src.monitoring.label_free import PairStatistics

BRANCH = "dense"  # its channels are the pseudo-categories, at the same places of both views


class LabelFreeMonitor(Callback):
    """Logs `label_free/...` after each training epoch, see `src.monitoring.label_free.LabelFreeMetrics`.

    It reads the logits of the dense branch for both augmented views, in training mode: they are among the `embeddings`
    that a training step returns with its loss. Nothing is logged for a method without a dense branch, or for an epoch
    in which no pair overlaps. The metrics cover all processes. If a run is resumed in the middle of an epoch, the
    metrics of that epoch cover only the part after the resumption.

    Attributes:
        last: values of the last epoch by the names of the metrics; empty before the end of the first epoch.
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
        if BRANCH not in outputs.get("embeddings", {}):
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
        found = None if statistics is None else statistics.metrics(summed)
        if found is not None:
            self.last = found._asdict()
            pl_module.log_dict({f"label_free/{name}": value for name, value in self.last.items()})
