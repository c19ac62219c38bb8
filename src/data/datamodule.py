"""The base class of all data sets: loaders of views for training, and of labelled images for scoring."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, Literal, NotRequired, TypedDict, get_args

import lightning
import torch
from PIL import Image
from torch.utils.data import Dataset, default_collate

from src.checks import check_choice, check_int, check_made, check_seed
from src.data.colours import recoloured_views
from src.data.eval_datasets import ScoredImages, WholeImages
from src.data.images import Images, LabelledImages
from src.data.occurrence import warn_of_absent_classes
from src.data.reading import Loader, OnCorrupt, Reader
from src.data.sampling import ShuffledSampler, UnpaddedSampler
from src.data.training_views import TrainingViews
from src.errors import DenseSiamError
from src.evaluation.protocol import EvaluationProtocol, Preparation
from src.images.reading import UnreadableFileError
from src.images.resizing import to_show
from src.metrics import Category

AugmentOn = Literal["loader", "device"]
MOST_WORKERS = 1024
TRIED = 5  # images in a row that are tried for one that is shown


class Loading(TypedDict):
    """The arguments that every data set has besides its location; see `ImageData`."""

    views: TrainingViews
    protocol: EvaluationProtocol
    batch_size: int
    num_workers: int
    seed: int
    on_corrupt: OnCorrupt
    augment_on: NotRequired[AugmentOn]


class ImageData(lightning.LightningDataModule):
    """Images to train on, and labelled images to score. A subclass chooses both.

    Args:
        train: function that lists the images to train on. Only views that need labels read these.
        val: the images to score; None if there are no labels, and then nothing is scored.
        classes: the classes of the labels.
        views: makes the samples to train on.
        protocol: defines how the images to score are prepared.
        batch_size: global batch size, over all processes. Scoring uses it too if all prepared images have one size.
        num_workers: number of loader processes of each training process.
        seed: seed of every random draw.
        on_corrupt: `raise` stops at an image that can't be read; `skip` trains on another image instead and leaves the
            unreadable image out of the scores. `src.monitoring.unreadable.Unreadable` counts and names such images.
        augment_on: where the colours of views change: in the `loader`, or on the `device` of the task, a batch at once.
            The draws are the same.

    Raises:
        DenseSiamError: a value is out of its range. At first use: there are fewer training images than a batch, or the
            batch can't be divided among the processes. On resuming in the middle of an epoch: the number of images, the
            batch size or the seed has changed.
    """

    collate: Callable[[list[Any]], Any] = staticmethod(default_collate)  # makes a batch of samples

    def __init__(
        self,
        train: Callable[[], Images],
        val: LabelledImages | None,
        classes: Sequence[Category],
        views: TrainingViews,
        protocol: Preparation,
        batch_size: int,
        num_workers: int,
        seed: int,
        on_corrupt: OnCorrupt,
        augment_on: AugmentOn = "loader",
    ) -> None:
        super().__init__()
        check_choice("data.on_corrupt", on_corrupt, get_args(OnCorrupt))
        check_choice("data.augment_on", augment_on, get_args(AugmentOn))
        check_made("data.views", views, TrainingViews, "data/views=crop_and_whole")
        check_int("data.batch_size", batch_size, low=1)
        check_int("data.num_workers", num_workers, high=MOST_WORKERS)
        check_seed("data.seed", seed)
        self.list_train, self.val, self.classes = train, val, tuple(classes)
        self.views = views.with_colours_left() if augment_on == "device" else views
        self.protocol, self.on_corrupt, self.augment_on = protocol, on_corrupt, augment_on
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.resumed: dict[str, int] | None = None
        self.labels_checked = False

    @cached_property
    def train(self) -> Images:
        """The images to train on. They are listed at first use, because scoring alone does not need them."""
        images = self.list_train()
        if len(images) < self.batch_size:
            raise DenseSiamError(
                f"batch_size is {self.batch_size}, but there are {len(images)} training images: expected at least one "
                "batch; lower data.batch_size or add images"
            )
        return images

    def train_image_name(self, index: int) -> str:
        """The path of a training image, for messages."""
        return self.train.image_name(index)

    def spread_train_images(self, count: int, longer: int) -> list[Image.Image]:
        """Training images to show, spread evenly over the list, always the same ones.

        In place of an image that can't be read, a following one is shown; if `TRIED` in a row can't be read, none is.

        Args:
            count: how many images.
            longer: the longer side of each in pixels, see `src.images.resizing.to_show`.
        """
        total, found = len(self.train), []
        for place in range(min(count, total)):
            stretch = range(place * total // min(count, total), (place + 1) * total // min(count, total))
            for index in stretch[len(stretch) // 2 :][:TRIED]:
                with suppress(UnreadableFileError):
                    found.append(to_show(self.train.image(index), longer))
                    break
        return found

    def setup(self, stage: str) -> None:
        """List the training images before training, so that errors show early.

        The first call also warns of classes that never occur in the labels to score, see `warn_of_absent_classes`.
        """
        if stage == "fit":
            self.views.samples(self._reader(self.train), len(self.classes), self.seed)  # some need labels
        if self.val is not None and not self.labels_checked:
            self.labels_checked = True
            self.check_labels()

    def check_labels(self) -> None:
        """Warn of faults of the labels to score, see `warn_of_absent_classes`; called once, before anything runs."""
        if self.val is not None:
            warn_of_absent_classes(self.val, self.classes)

    def describe(self) -> dict[str, Any]:
        """The images and classes that are scored, to be printed with every score."""
        if self.val is None:
            return {}
        return {"data": str(self.val), "images": len(self.val), "classes": len(self.classes)}

    def train_dataloader(self) -> Loader:
        rank, processes = self._place()
        sampler = ShuffledSampler(len(self.train), self.batch_size, self.seed, rank, processes, self.done_before)
        return self._training_loader(sampler)

    def pairs_dataloader(self, epoch: int) -> Loader:
        """The pairs of views that this process trains on in an epoch, with the same draws in the same order.

        Baselines that cluster the training images before each epoch read them.
        """
        rank, processes = self._place()
        sampler = ShuffledSampler(len(self.train), self.batch_size, self.seed, rank, processes)
        sampler.set_epoch(epoch)
        return self._training_loader(sampler)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch to the device; with `augment_on=device`, the colours of its views change there."""
        if not isinstance(batch, dict) or "colours" not in batch:
            return super().transfer_batch_to_device(batch, device, dataloader_idx)
        moved = {key: value for key, value in batch.items() if key != "colours"}  # the draws stay on the CPU
        return recoloured_views(super().transfer_batch_to_device(moved, device, dataloader_idx), batch["colours"])

    def state_dict(self) -> dict[str, int]:
        """The values that determine the order of the training images."""
        return {"images": len(self.train), "batch_size": self.batch_size, "seed": self.seed}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.resumed = state_dict

    def done_before(self) -> int:
        """Number of batches of the starting epoch that were already used before the run was stopped.

        The number is Lightning's own count.

        Raises:
            DenseSiamError: the number of images, the batch size or the seed differs from that of the checkpoint.
        """
        done = self.trainer.fit_loop.batch_idx + 1 if self.trainer and self.trainer.training else 0
        here = self.state_dict()
        if done and self.resumed != here:
            before, now = (
                ", ".join(f"{key} {value}" for key, value in (x or {}).items()) for x in (self.resumed, here)
            )
            raise DenseSiamError(
                f"the checkpoint is from the middle of an epoch, after {done} batches of {before or 'other data'}; now "
                f"there are {now}: expected the same, as the order of the images follows from them; set them back"
            )
        return done

    def val_dataloader(self) -> Loader | list[Loader]:
        if self.val is None:
            return []
        rank, processes = self._place()
        if len(self.val) < processes:
            raise DenseSiamError(
                f"there are {len(self.val)} images to score and {processes} processes: expected at least one each; use "
                "fewer processes"
            )
        return self._scored_loader(UnpaddedSampler(len(self.val), rank, processes))

    def whole_train_dataloader(self, max_images: int, generator: torch.Generator) -> Loader:
        """At most `max_images` random training images, without labels and prepared as for scoring, for k-means.

        Every process gets the same images.
        """
        chosen = torch.randperm(len(self.train), generator=generator)[:max_images].tolist()
        reader = self._reader(self.train)
        return self._loader(WholeImages(reader, self.protocol), reader, self._whole_share(), sampler=chosen)

    def labelled_dataloader(self) -> Loader | None:
        """Labelled images to fit probes on; None where `probe=` has given none."""
        return None

    def _training_loader(self, sampler: ShuffledSampler) -> Loader:
        reader = self._reader(self.train)
        samples = self.views.samples(reader, len(self.classes), self.seed)
        return self._loader(samples, reader, self._share(), sampler=sampler, drop_last=True)

    def _scored_loader(self, sampler: UnpaddedSampler) -> Loader:
        assert self.val is not None
        return self._labelled_loader(self.val, sampler)

    def _labelled_loader(self, images: LabelledImages, order: Iterable[int]) -> Loader:
        names = [category.name for category in self.classes]
        reader = self._reader(images)
        samples = ScoredImages(images, reader, self.protocol, names)
        return self._loader(samples, reader, self._whole_share(), sampler=order)

    def _reader(self, images: Images) -> Reader:
        return Reader(images, self.on_corrupt, self.num_workers)

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _share(self) -> int:
        """The part of a global batch that each process gets.

        Raises:
            DenseSiamError: the batch can't be divided among the processes.
        """
        _, processes = self._place()
        if self.batch_size % processes:
            raise DenseSiamError(
                f"batch_size is {self.batch_size}, which {processes} processes can't share equally: "
                f"it is the global batch; choose a multiple of {processes}"
            )
        return self.batch_size // processes

    def _whole_share(self) -> int:
        """The batch size of whole images in each process: 1 if they have different sizes."""
        return self._share() if self.protocol.one_size else 1

    def _loader(self, dataset: Dataset[Any], reader: Reader, batch_size: int, **options: Any) -> Loader:
        return Loader(
            dataset,
            reader,
            batch_size=batch_size,
            collate_fn=self.collate,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            **options,
        )
