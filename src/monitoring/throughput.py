"""Training time, divided into loading, clustering and steps."""

import time
from collections.abc import Callable
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback


class Throughput(Callback):
    """Measures the time of loading, clustering and steps during training, without validation and checkpoints.

    Loading is the time from the end of a step to the start of the next, minus the module's `clustering_seconds` in that
    time. With loader processes, it is the time that the training process waits for them. A GPU computes
    asynchronously, so a part of a step can be counted as loading of the next batch, or the other way round; the sum is
    correct.

    After each epoch it logs `epoch_seconds`, `epoch_loading_seconds`, ... and `images_per_second`.

    Args:
        clock: returns the time in seconds; the module must use the same clock for `clustering_seconds`.

    Attributes:
        seconds: seconds of each part in all epochs so far, also those before the run was resumed.
        epoch: seconds of each part in this epoch.
        images, epoch_images: number of images that all processes have trained on, in all epochs and in this one.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.seconds, self.epoch = no_seconds(), no_seconds()
        self.images, self.epoch_images = 0, 0
        self.since, self.clustered = 0.0, 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.go_on(pl_module)  # Lightning does not call on_train_epoch_start for an epoch that is resumed in its middle

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.epoch, self.epoch_images = no_seconds(), 0
        self.go_on(pl_module)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        clustering = clustering_seconds(pl_module) - self.clustered
        self.add("clustering", clustering)
        self.add("loading", self.clock() - self.since - clustering)
        self.go_on(pl_module)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
    ) -> None:
        self.add("step", self.clock() - self.since)
        self.go_on(pl_module)
        images = len(batch["index"]) * trainer.world_size
        self.images += images
        self.epoch_images += images
        if batch_idx + 1 == trainer.num_training_batches:
            total = sum(self.epoch.values())
            speed = {"epoch_seconds": total, "images_per_second": self.epoch_images / total}
            pl_module.log_dict(speed, prog_bar=True, on_step=False, on_epoch=True, batch_size=1)
            parts = {f"epoch_{part}_seconds": seconds for part, seconds in self.epoch.items()}
            pl_module.log_dict(parts, on_step=False, on_epoch=True, batch_size=1)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.go_on(pl_module)

    def go_on(self, pl_module: lightning.LightningModule) -> None:
        """Start to measure the next part now."""
        self.since, self.clustered = self.clock(), clustering_seconds(pl_module)

    def add(self, part: str, seconds: float) -> None:
        """Add seconds to a part of the training."""
        self.seconds[part] += seconds
        self.epoch[part] += seconds

    def cost(self) -> dict[str, float]:
        """`train_seconds`, the parts that sum to it, and `train_images` of the whole training, for `scores.json`."""
        parts = {f"{part}_seconds": seconds for part, seconds in self.seconds.items()}
        return {"train_seconds": sum(self.seconds.values()), **parts, "train_images": self.images}

    def state_dict(self) -> dict[str, Any]:
        both = {"seconds": dict(self.seconds), "epoch": dict(self.epoch)}
        return {**both, "images": self.images, "epoch_images": self.epoch_images}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds, self.epoch = dict(state_dict["seconds"]), dict(state_dict["epoch"])
        self.images, self.epoch_images = state_dict["images"], state_dict["epoch_images"]


def no_seconds() -> dict[str, float]:
    """The parts of training, each with 0 seconds."""
    return {"loading": 0.0, "clustering": 0.0, "step": 0.0}


def clustering_seconds(module: Any) -> float:
    """Seconds that a task, see `src.tasks.base.Task`, has spent on clustering so far."""
    return float(module.clustering_seconds)
