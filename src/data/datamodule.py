"""What every data set shares: loaders of view pairs for training and of labelled images for scoring."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypedDict

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from src.data.images import Images, LabelledImages, ScoredImages, WholeImages
from src.data.sampling import ShuffledSampler, UnpaddedSampler
from src.data.views import TwoViews, ViewPairs
from src.errors import DenseSiamError
from src.metrics import Category


class Loading(TypedDict):
    """What every data set is told beside where it lies; see `TwoViewData`."""

    views: TwoViews
    eval_size: int
    batch_size: int
    num_workers: int
    seed: int


class TwoViewData(lightning.LightningDataModule):
    """Images to train on and labelled images to score on, chosen by the subclass.

    Args:
        train: lists the images to train on. Their labels are never read.
        val: the images to score.
        classes: of the labels.
        views: makes the two views of a training image.
        eval_size: side to which an image is resized and centre-cropped for scoring.
        batch_size: global, over all processes; for scoring too.
        num_workers: loader processes of each process.
        seed: of every random draw.

    Raises:
        DenseSiamError: on first use: fewer training images than a batch, or a batch that the processes can't share.
    """

    def __init__(
        self,
        train: Callable[[], Images],
        val: LabelledImages,
        classes: Sequence[Category],
        views: TwoViews,
        eval_size: int,
        batch_size: int,
        num_workers: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.list_train, self.val, self.classes, self.views = train, val, tuple(classes), views
        self.eval_size, self.batch_size, self.num_workers, self.seed = eval_size, batch_size, num_workers, seed

    @cached_property
    def train(self) -> Images:
        """The images to train on, listed when first asked for: scoring needs none of them."""
        images = self.list_train()
        if len(images) < self.batch_size:
            raise DenseSiamError(
                f"batch_size is {self.batch_size}, but there are {len(images)} training images: expected at least one "
                "batch; lower data.batch_size or add images"
            )
        return images

    def setup(self, stage: str) -> None:
        """List the training images where they are needed, so that what is wrong with them shows early."""
        if stage == "fit":
            _ = self.train

    @property
    def protocol(self) -> dict[str, Any]:
        """How the labelled images are prepared, to be printed with every score."""
        return {
            "data": str(self.val),
            "images": len(self.val),
            "classes": len(self.classes),
            "preparation": f"shorter side to {self.eval_size}, centre crop {self.eval_size}, labels alike (nearest)",
        }

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        rank, processes = self._place()
        sampler = ShuffledSampler(len(self.train), self.batch_size, self.seed, rank, processes)
        return self._loader(ViewPairs(self.train, self.views, self.seed), sampler=sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        names = [category.name for category in self.classes]
        sampler = UnpaddedSampler(len(self.val), *self._place())
        return self._loader(ScoredImages(self.val, self.eval_size, names), sampler=sampler)

    def whole_train_dataloader(self, max_images: int, generator: torch.Generator) -> DataLoader[Tensor]:
        """Some of the training images as for scoring, without labels, alike in every process: for k-means."""
        chosen = torch.randperm(len(self.train), generator=generator)[:max_images].tolist()
        return self._loader(WholeImages(self.train, self.eval_size), sampler=chosen)

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, dataset: Any, **options: Any) -> DataLoader[Any]:
        _, processes = self._place()
        if self.batch_size % processes:
            raise DenseSiamError(
                f"batch_size is {self.batch_size}, which {processes} processes can't share equally: "
                f"it is the global batch; choose a multiple of {processes}"
            )
        return DataLoader(
            dataset,
            batch_size=self.batch_size // processes,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            **options,
        )
