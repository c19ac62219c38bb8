"""Images with boxes: to train a detector on, and to score it."""

from collections.abc import Callable, Sequence
from typing import Any, NotRequired, TypedDict

import torch
from torch.utils.data import Dataset

from src.data.datamodule import AugmentOn, ImageData
from src.data.detection_objects import DetectionImages, check_objects, label_of, read_sample
from src.data.eval_datasets import BLANK
from src.data.overlap import shared_files, warn_of_overlap
from src.data.reading import Loader, OnCorrupt, Reader
from src.data.sampling import UnpaddedSampler
from src.data.training_views import TrainingViews
from src.evaluation.detection_protocol import DetectionProtocol
from src.images.reading import UnreadableFileError
from src.metrics import Category


class DetectionLoading(TypedDict):
    """The arguments that every data set of images with boxes has besides its location; see `ImageData`."""

    views: TrainingViews
    protocol: DetectionProtocol
    batch_size: int
    num_workers: int
    seed: int
    on_corrupt: OnCorrupt
    augment_on: NotRequired[AugmentOn]


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A batch of images of different sizes.

    Returns:
        `image`, a list of (3, h, w) uint8; `label`, a list of dicts, see `DetectionImages.objects`; `index` (B,) int64;
        `unreadable`, a list of texts.
    """
    return {
        "image": [sample["image"] for sample in samples],
        "label": [sample["label"] for sample in samples],
        "index": torch.tensor([sample["index"] for sample in samples], dtype=torch.int64),
        "unreadable": [sample["unreadable"] for sample in samples],
    }


class DetectionData(ImageData):
    """Images with boxes; a subclass chooses those to train on and those to score.

    Images are scored one by one, each at its own size, so that a score does not depend on the number of processes:
    several images in one batch are padded to the same size, which changes features near their edges.

    Args:
        train: function that lists the images to train on, with their objects.
        val: the images to score.
        classes: the classes of the objects.
        loading: see `ImageData`.

    Raises:
        DenseSiamError: see `ImageData`, and at setup `check_objects`.
    """

    val: DetectionImages  # type: ignore[assignment] # the base class scores label maps
    collate = staticmethod(collate)

    def __init__(
        self,
        train: Callable[[], DetectionImages],
        val: DetectionImages,
        classes: Sequence[Category],
        views: TrainingViews,
        protocol: DetectionProtocol,
        batch_size: int,
        num_workers: int,
        seed: int,
        on_corrupt: OnCorrupt,
        augment_on: AugmentOn = "loader",
    ) -> None:
        def listed() -> DetectionImages:
            images = train()
            warn_of_overlap(map(images.image_name, shared_files(images, val)))
            check_objects(images, self.classes, "to train on", images.trains_on_ignored)
            return images

        super().__init__(listed, None, classes, views, protocol, batch_size, num_workers, seed, on_corrupt, augment_on)
        self.val = val

    def check_labels(self) -> None:
        check_objects(self.val, self.classes, "to score", with_ignored=False)

    def _scored_loader(self, sampler: UnpaddedSampler) -> Loader:
        reader = self._reader(self.val)
        return self._loader(ScoredObjects(self.val, reader), reader, 1, sampler=sampler)


class ScoredObjects(Dataset[dict[str, Any]]):
    """Images of their own size with all their objects, to be scored.

    An item is a sample of `collate`'s batch. An image that is skipped is blank, its label has no objects and the
    additional key `skipped`; it must not be counted.

    Args:
        images: the images.
        reader: reader of these images.
    """

    def __init__(self, images: DetectionImages, reader: Reader) -> None:
        self.images, self.reader = images, reader

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.reader.begin(index)
        try:
            image, label = read_sample(self.images, index)
        except UnreadableFileError as error:
            if self.reader.on_corrupt == "raise":
                raise
            blank = torch.zeros(3, BLANK, BLANK, dtype=torch.uint8)
            nothing = {**label_of([], [], [], []), "skipped": torch.tensor(True)}
            return {"image": blank, "label": nothing, "index": index, "unreadable": str(error)}
        return {"image": image, "label": label, "index": index, "unreadable": ""}
