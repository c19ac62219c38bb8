"""Detection of collapse during training."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from src.checks import check_flag, check_int, check_number
from src.monitoring.collapse import BranchStatistics, Health

CATEGORICAL = ("dense", "aux")  # branches whose channels are pseudo-categories
ADVICE = (
    "A collapsed network gives nearly the same output for every image, and its encoder learns little. Check "
    "task.criterion.stop_gradient (true), the learning rate (lower optimizer.base_lr) and RegionSim (a later "
    "task.region_start, a smaller task.loss_weights.region)"
)


class CollapseMonitor(Callback):
    """Logs `collapse/BRANCH/...` after each training epoch, and warns once about each branch that looks collapsed.

    It reads the `embeddings` that a training step returns with its loss: both views of each branch, channels last. The
    measures cover all processes, and all processes decide alike. If a run is resumed in the middle of an epoch, the
    measures of that epoch cover only the part after the resumption.

    Args:
        rows_per_view: how many rows of each view are used for spread and effective rank in each step and process at
            most, from 1.
        min_spread: a branch with a smaller spread looks collapsed; 0 to 1.
        min_effective_rank: a branch with a smaller effective rank looks collapsed; if half the number of channels is
            smaller than this value, that half is used instead.
        min_images: measures of an epoch with fewer images are logged, but not judged.
        stop: whether training stops after an epoch that looks collapsed.

    Raises:
        DenseSiamError: a value is out of its range.
    """

    def __init__(
        self, rows_per_view: int, min_spread: float, min_effective_rank: float, min_images: int, stop: bool
    ) -> None:
        check_int("callbacks.collapse.rows_per_view", rows_per_view, low=1)
        check_number("callbacks.collapse.min_spread", min_spread, low=0, high=1)
        check_number("callbacks.collapse.min_effective_rank", min_effective_rank, low=0)
        check_int("callbacks.collapse.min_images", min_images, low=1)
        check_flag("callbacks.collapse.stop", stop)
        self.rows_per_view, self.min_images, self.stop = rows_per_view, min_images, stop
        self.min_spread, self.min_effective_rank = min_spread, min_effective_rank
        self.branches: dict[str, BranchStatistics] = {}
        self.warned: set[str] = set()

    def state_dict(self) -> dict[str, list[str]]:
        return {"warned": sorted(self.warned)}

    def load_state_dict(self, state_dict: dict[str, list[str]]) -> None:
        self.warned = set(state_dict["warned"])

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.branches = {}

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        embeddings: Mapping[str, Sequence[Tensor]] = outputs.get("embeddings", {})  # of tasks that compare views
        for name, views in embeddings.items():
            if name not in self.branches:
                channels, device = views[0].shape[-1], views[0].device
                self.branches[name] = BranchStatistics(channels, name in CATEGORICAL, device)
            self.branches[name].add(views, self.rows_per_view)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        def summed(value: Tensor) -> Tensor:
            total: Tensor = trainer.strategy.reduce(value, reduce_op="sum")
            return total

        branches, self.branches = self.branches, {}
        measured = {name: branch.health(summed) for name, branch in branches.items()}
        measured = trainer.strategy.broadcast(measured)  # processes may round differently, but must decide alike
        for name, health in measured.items():
            values = {key: value for key, value in health._asdict().items() if key not in ("images", "channels")}
            values = {f"collapse/{name}/{key}": float(value) for key, value in values.items() if value is not None}
            pl_module.log_dict(values)
        collapsed = {name: why for name, health in measured.items() if (why := self.symptoms(health))}
        if trainer.is_global_zero:
            when = f"after epoch {trainer.current_epoch}, step {trainer.global_step}"
            for name in sorted(collapsed.keys() - self.warned):
                said = f"the {name} branch looks collapsed {when}: {collapsed[name]}. {ADVICE}."
                warnings.warn(f"{said} This warning is given once; collapse/{name}/* is still logged", stacklevel=1)
            if collapsed and self.stop:
                warnings.warn(f"callbacks.collapse.stop is true: training ends {when}", stacklevel=1)
        self.warned |= collapsed.keys()
        if collapsed and self.stop:
            trainer.should_stop = True

    def symptoms(self, health: Health) -> str:
        """The measures by which a branch looks collapsed, in words; "" if it does not look collapsed."""
        if health.images < self.min_images:
            return ""
        found = []
        if health.spread < self.min_spread:
            found.append(
                f"the spread of its embeddings is {health.spread:.2f}, below {self.min_spread:g} (1 is healthy, 0 "
                "means that all are the same)"
            )
        least = min(self.min_effective_rank, health.channels / 2)
        if health.effective_rank < least:
            found.append(
                f"the effective rank of its embeddings is {health.effective_rank:.1f} of {health.channels}, below "
                f"{least:g} (the number of directions along which they differ)"
            )
        return ", and ".join(found)
