"""The interface of a task: training, evaluation and prediction use it for every method and every kind of score."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence, Sized
from copy import deepcopy
from typing import Any, ClassVar, Protocol, Self

import lightning
import torch
from PIL import Image
from torch import Tensor, nn

from src.errors import DenseSiamError
from src.evaluation.bootstrap import Interval
from src.evaluation.matched import Matched
from src.evaluation.scoring import Scored
from src.models.dense import DenseFeatures


class Data(Protocol):
    """What a task may use of the data that it is trained and scored on; `src.data.datamodule.ImageData` offers it.

    Attributes:
        val: the labelled images that are scored; None if there are no labels.
    """

    val: Sized | None

    def train_image_name(self, index: int) -> str:
        """The path of a training image, for messages."""

    def spread_train_images(self, count: int, longer: int) -> list[Image.Image]:
        """The same `count` training images at each call, at most, with a longer side of `longer` pixels."""

    def pairs_dataloader(self, epoch: int) -> Iterable[dict[str, Any]]:
        """The batches of view pairs that this process trains on in an epoch."""

    def whole_train_dataloader(self, max_images: int, generator: torch.Generator) -> Iterable[Tensor]:
        """Batches (B, 3, H, W) of training images, prepared as for scoring."""

    def labelled_dataloader(self) -> Iterable[dict[str, Any]] | None:
        """Labelled images to fit probes on; None if no probe set was given."""


class Task(lightning.LightningModule):
    """A LightningModule for one procedure. Commands use what this class declares and nothing else.

    Args:
        name: the name under which its scores are logged.

    Attributes:
        label: the name of its row in a table of scores; the same as `name`, except for reference methods.
        primary_metric: the name of the score, in percent, by which a sweep and `best_by_labelled_miou` compare runs.
        data: the data that it is trained or scored on; None before `prepare`.
        clustering_seconds: seconds spent on clustering between the training steps so far.
    """

    primary_metric: ClassVar[str]

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.label = name, name
        self.data: Data | None = None
        self.clustering_seconds = 0.0

    def prepare(self, data: Data, images: Iterable[Tensor] | None = None) -> None:
        """Take the data that the task will be trained or scored on.

        Args:
            data: see `Data`.
            images: batches (B, 3, H, W) of training images, on which parts of the task are fitted before training; None
                if these parts come from a checkpoint.
        """
        self.data = data

    def given_data(self) -> Data:
        """The data of `prepare`.

        Raises:
            RuntimeError: `prepare` has not been called.
        """
        if self.data is None:
            raise RuntimeError("Task.prepare has not been called")
        return self.data

    @property
    def is_scored(self) -> bool:
        """Whether there are labelled images and `trainer.limit_val_batches` allows to score some of them."""
        return self.given_data().val is not None and self.trainer.limit_val_batches != 0

    def upgraded(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a checkpoint under the names of this version; an older version may have written them.

        Entries that older versions did not have get the task's own values.
        """
        return dict(state)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["state_dict"] = self.upgraded(checkpoint["state_dict"])

    @property
    def learns(self) -> bool:
        """Whether training changes the task; if no parameter learns, a run only scores it."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def worst_case(self) -> Self:
        """A copy for the cost estimate, whose steps take the most time and memory that a step of the run can take."""
        return deepcopy(self, {id(self.data): self.data})

    def broadcast_buffers(self, module: nn.Module) -> None:
        """Give every process the buffers of the first one, such as the statistics of batch norm; a collective call.

        DDP does so before a training step, but a validation begins after a step. All processes must have the same
        buffers, because otherwise an output would have different meanings in different processes.
        """
        if self.trainer.world_size > 1:
            for buffer in module.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def remarks(self) -> list[str]:
        """What a user should know before the run starts, one line each."""
        return []

    @abstractmethod
    def results(self) -> dict[str, Scored]:
        """The scores of the last validation by name: "" for the task itself, other names for its other predictions."""

    @abstractmethod
    def scored_on(self) -> dict[str, Any]:
        """On what data and how the last scores were computed, to be printed with them."""

    @abstractmethod
    def difference(self, other: "Task") -> dict[str, Interval]:
        """The scores of this task minus those of another on the same images, with paired 95 % intervals.

        Raises:
            DenseSiamError: the two tasks were not scored on the same images.
        """

    @abstractmethod
    def picture(self, samples: Sequence[tuple[Tensor, ...]]) -> Image.Image:
        """Draw samples of the last validation; each holds the image, the target and the result of `validation_step`."""

    def training_picture(self, count: int) -> Image.Image | None:
        """Draw `count` training images, their clusters, and both together; a collective call.

        None if the task predicts no clusters without labels, or no image can be read.
        """
        return None

    def pretrained_part(self) -> nn.Module:
        """The module that receives pretrained weights, from another run or another program."""
        return self

    def deployed(self) -> nn.Module:
        """The plain network that the user of a checkpoint gets, on which prediction, export and the app are built.

        It is a `src.models.segmentation.SegmentationNetwork` or a `src.models.detection.DetectionNetwork`.

        Raises:
            DenseSiamError: the task has no network that predicts on images.
        """
        raise DenseSiamError(f"{type(self).__name__} has no network that predicts on images")

    def compilable(self) -> list[nn.Module]:
        """The modules that `compile=true` compiles; empty if the task has none."""
        return []

    def matched(self) -> Matched | None:
        """The clusters and classes of the last validation; None if the task matches none, or none was validated."""
        return None

    def probed_network(self) -> DenseFeatures | None:
        """The network whose features an evaluation can probe; None if the task's own scores are those of probes."""
        return None


def score(
    trainer: lightning.Trainer, task: Task, data: lightning.LightningDataModule, label: str
) -> Mapping[str, Scored]:
    """Validate a task; returns its scores under `label`, and those of each of its other predictions.

    Raises:
        DenseSiamError: there are no labelled images, or `trainer.limit_val_batches` is 0.
    """
    task.trainer = trainer
    if not task.is_scored:
        raise DenseSiamError("nothing would be scored: expected labels, and trainer.limit_val_batches above 0")
    trainer.validate(task, data, verbose=False)
    return {f"{label}, {name}" if name else label: row for name, row in task.results().items()}
