"""The contract of a task: what training, evaluation and prediction ask of it, whatever its method and scores are."""

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
from src.evaluation.scoring import Scored
from src.models.dense import DenseFeatures


class Data(Protocol):
    """What a task may ask of the data it is trained and scored on; `src.data.datamodule.TwoViewData` has all of it.

    Attributes:
        val: the labelled images that are scored; None where there are no labels.
    """

    val: Sized | None

    def train_image_name(self, index: int) -> str:
        """The path of a training image, for messages."""

    def pairs_dataloader(self, epoch: int) -> Iterable[dict[str, Any]]:
        """The batches of view pairs that this process trains on in an epoch."""

    def whole_train_dataloader(self, max_images: int, generator: torch.Generator) -> Iterable[Tensor]:
        """Batches (B, 3, H, W) of training images, prepared as for scoring."""

    def labelled_dataloader(self) -> Iterable[dict[str, Any]] | None:
        """Labelled images to fit probes on; None where no probe set was given."""


class Task(lightning.LightningModule):
    """A LightningModule for one procedure. Commands use what this class declares and nothing else.

    Args:
        name: what its scores are logged under.

    Attributes:
        label: what its row in a table of scores is called, if it is a reference method.
        primary_metric: the name of the score, in percent, by which a sweep and `best_by_labelled_miou` compare runs.
        data: what it is trained or scored on; None before `prepare`.
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
            images: batches (B, 3, H, W) of training images that parts of the task are fitted on before training; None
                where these parts come from a checkpoint.
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
        """Whether there are labelled images, and `trainer.limit_val_batches` leaves some of them."""
        return self.given_data().val is not None and self.trainer.limit_val_batches != 0

    def worst_case(self) -> Self:
        """A copy that takes as long and as much memory as any step of a run can take, for the cost estimate."""
        return deepcopy(self, {id(self.data): self.data})

    def remarks(self) -> list[str]:
        """What a user should know before the run starts, one line each."""
        return []

    @abstractmethod
    def results(self) -> dict[str, Scored]:
        """The scores of the last validation: those of the task under "", those of other readouts under their names."""

    @abstractmethod
    def scored_on(self) -> dict[str, Any]:
        """What the last scores were computed on and how, to be printed with them."""

    @abstractmethod
    def difference(self, other: "Task") -> dict[str, Interval]:
        """The scores of this task minus those of another on the same images, with paired 95 % intervals.

        Raises:
            DenseSiamError: they were not scored on the same images.
        """

    @abstractmethod
    def picture(self, samples: Sequence[tuple[Tensor, ...]]) -> Image.Image:
        """Draw samples of the last validation: image, target and what `validation_step` returned for each."""

    def pretrained_part(self) -> nn.Module:
        """The module that weights of another run, or of another program, are loaded into."""
        return self

    def deployed(self) -> nn.Module:
        """The plain module that a user of a checkpoint gets.

        Raises:
            DenseSiamError: the task has nothing to offer on images.
        """
        return self

    def probed_network(self) -> DenseFeatures | None:
        """The network whose features an evaluation can probe beside the scores; None where the scores are of probes."""
        return None


def score(
    trainer: lightning.Trainer, task: Task, data: lightning.LightningDataModule, label: str
) -> Mapping[str, Scored]:
    """Validate a task: a row under this label, and one for each of its other readouts.

    Raises:
        DenseSiamError: there is nothing to score.
    """
    task.trainer = trainer
    if not task.is_scored:
        raise DenseSiamError("nothing would be scored: expected labels, and trainer.limit_val_batches above 0")
    trainer.validate(task, data, verbose=False)
    return {f"{label}, {name}" if name else label: row for name, row in task.results().items()}
