"""What a run does beside training: keeps its config, measures its speed, draws what it predicts."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image
from torch import Tensor

from src.checks import check_int, check_text
from src.pictures import contact_sheet
from src.tolerance import WarnOnce


class ConfigInCheckpoint(Callback):
    """Writes the composed config into every checkpoint, so that it can be rebuilt from the file alone.

    Args:
        config: plain containers, interpolations resolved.
        origin: what the run is made from, see `src.provenance`; written beside the config.
    """

    def __init__(self, config: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
        self.config, self.origin = dict(config), dict(origin)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["config"], checkpoint["origin"] = self.config, self.origin


class Throughput(Callback):
    """Where the seconds of training go: loading, clustering, steps; validation and checkpoints are left out.

    Loading is from the end of a step to the start of the next, less what the module counts as `clustering_seconds` in
    that time: with loader processes it is the wait for them. A GPU works on after the host has gone on, so that there
    the end of a step can be counted as loading of the next batch, or the other way round; the sum is right.

    Each epoch logs its `epoch_seconds`, `epoch_loading_seconds`, ... and `images_per_second`.

    Args:
        clock: gives seconds; that of the module's `clustering_seconds` has to be the same.

    Attributes:
        seconds: of all epochs so far, those before a resumption too.
        epoch: seconds of this epoch.
        images, epoch_images: seen by all processes, in the same times.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.seconds, self.epoch = no_seconds(), no_seconds()
        self.images, self.epoch_images = 0, 0
        self.since, self.clustered = 0.0, 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.go_on(pl_module)  # an epoch that is resumed in its middle has no start

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
        """Count from now on."""
        self.since, self.clustered = self.clock(), clustering_seconds(pl_module)

    def add(self, part: str, seconds: float) -> None:
        """Count seconds for a part of the training."""
        self.seconds[part] += seconds
        self.epoch[part] += seconds

    def cost(self) -> dict[str, float]:
        """Of the whole training, for `scores.json`: `train_seconds`, its parts, which sum to it, and `train_images`."""
        parts = {f"{part}_seconds": seconds for part, seconds in self.seconds.items()}
        return {"train_seconds": sum(self.seconds.values()), **parts, "train_images": self.images}

    def state_dict(self) -> dict[str, Any]:
        both = {"seconds": dict(self.seconds), "epoch": dict(self.epoch)}
        return {**both, "images": self.images, "epoch_images": self.epoch_images}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds, self.epoch = dict(state_dict["seconds"]), dict(state_dict["epoch"])
        self.images, self.epoch_images = state_dict["images"], state_dict["epoch_images"]


def no_seconds() -> dict[str, float]:
    """The parts of training, before any of it."""
    return {"loading": 0.0, "clustering": 0.0, "step": 0.0}


def clustering_seconds(module: lightning.LightningModule) -> float:
    """What a module has spent on clustering so far; one that counts nothing has spent nothing."""
    seconds: float = getattr(module, "clustering_seconds", 0.0)
    return seconds


class Unreadable(Callback):
    """Counts and names the images that could not be read, after each epoch; for `data.on_corrupt=skip`.

    Args:
        file: every message is appended to it, a line each; not made where all can be read.
    """

    def __init__(self, file: str) -> None:
        check_text("callbacks.unreadable.file", file)
        self.file, self.tolerated = Path(file), WarnOnce(file)
        self.training: set[str] = set()
        self.scoring: set[str] = set()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.training.update(filter(None, batch["unreadable"]))

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.scoring.update(filter(None, batch["unreadable"]))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        faults, self.training = over_processes(self.training, trainer.world_size), set()
        pl_module.log("unreadable_images", float(len(faults)))
        if trainer.is_global_zero:
            self.report(f"epoch {trainer.current_epoch}: {len(faults)} training image(s) replaced by others", faults)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        faults, self.scoring = over_processes(self.scoring, trainer.world_size), set()
        if trainer.is_global_zero:
            self.report(f"step {trainer.global_step}: {len(faults)} image(s) left out of the scores", faults)

    def state_dict(self) -> dict[str, list[str]]:
        return {"training": sorted(self.training)}

    def load_state_dict(self, state_dict: dict[str, list[str]]) -> None:
        self.training = set(state_dict["training"])

    def report(self, heading: str, faults: Sequence[str]) -> None:
        """Warn of the faults, if there are any, and append them to the file."""
        if not faults:
            return
        with self.tolerated:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as file:
                file.writelines(f"{heading}: {fault}\n" for fault in faults)
        warnings.warn(f"{heading}; the first: {faults[0]}; all in {self.file}", stacklevel=1)


def over_processes(found: set[str], processes: int) -> list[str]:
    """What any of the processes found, sorted; a collective call."""
    shares: list[Any] = [found]
    if processes > 1:
        shares = [None] * processes
        torch.distributed.all_gather_object(shares, found)
    return sorted(set().union(*shares))


class Pictures(Callback):
    """After each validation, a sheet of images, labels and predictions in matched colours, as PNG and in the logger.

    Args:
        folder: where `NAME_stepSTEP.png` is written.
        num_images: how many, spread over the validation batches.
    """

    def __init__(self, folder: str, num_images: int) -> None:
        check_text("callbacks.pictures.folder", folder)
        check_int("callbacks.pictures.num_images", num_images, high=1000)
        self.folder, self.num_images = Path(folder), num_images
        self.tolerated = WarnOnce(f"pictures in {folder}")
        self.rows: list[tuple[Tensor, Tensor, Tensor]] = []

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.rows = []

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        due = round(self.num_images * (batch_idx + 1) / int(sum(trainer.num_val_batches)))
        wanted = due - len(self.rows)
        columns = (batch["image"][:wanted], batch["label"][:wanted], outputs[:wanted])
        self.rows += zip(*(column.cpu() for column in columns), strict=True)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        scoring: Any = pl_module.scoring
        metric = scoring.metric
        mapping = metric.mapping  # on every process: it may be a collective call
        if not trainer.is_global_zero or not self.rows:
            return
        with self.tolerated:
            rows = [(image, label, mapping[clusters]) for image, label, clusters in self.rows]
            sheet = contact_sheet(rows, [category.name for category in metric.categories])
            for logger in trainer.loggers:
                with self.tolerated:
                    log_picture(logger, f"pictures/{pl_module.name}", sheet, trainer.global_step)
            self.folder.mkdir(parents=True, exist_ok=True)
            sheet.save(self.folder / f"{pl_module.name}_step{trainer.global_step:06d}.png")


def log_picture(logger: Any, name: str, picture: Image.Image, step: int) -> None:
    """Give a picture to a logger that can show it; others keep none."""
    if isinstance(logger, WandbLogger):
        logger.log_image(name, [picture], step=step)
    elif isinstance(logger, TensorBoardLogger):
        pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
        logger.experiment.add_image(name, pixels.view(picture.height, picture.width, 3), step, dataformats="HWC")
