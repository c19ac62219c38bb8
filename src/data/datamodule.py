"""What every data set shares: loaders of view pairs for training and of labelled images for scoring."""

from collections.abc import Sequence
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
        train, val: the images. Labels are read for scoring only.
        classes: of the labels.
        views: makes the two views of a training image.
        eval_size: side to which an image is resized and centre-cropped for scoring.
        batch_size: global, over all processes; for scoring too.
        num_workers: loader processes of each process.
        seed: of every random draw.

    Raises:
        DenseSiamError: no images, or fewer than a batch; on making a loader: a batch that the processes can't share.
    """

    def __init__(
        self,
        train: Images,
        val: LabelledImages,
        classes: Sequence[Category],
        views: TwoViews,
        eval_size: int,
        batch_size: int,
        num_workers: int,
        seed: int,
    ) -> None:
        super().__init__()
        if len(train) < batch_size:
            raise DenseSiamError(
                f"batch_size is {batch_size}, but there are {len(train)} training images: expected at least one batch; "
                "lower data.batch_size or add images"
            )
        self.train, self.val, self.classes, self.views = train, val, tuple(classes), views
        self.eval_size, self.batch_size, self.num_workers, self.seed = eval_size, batch_size, num_workers, seed

    @property
    def protocol(self) -> dict[str, Any]:
        """How the labelled images are prepared, to be printed with every score."""
        return {
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
