"""What a detector sees of a training image: the image with a random short side, mirrored at random, and its objects."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from src.checks import check_int, check_number
from src.data.detection_objects import DetectionImages, Label, chosen, clipped, inside, read_sample
from src.data.eval_datasets import LONGEST_RATIO
from src.data.reading import Reader
from src.data.sampling import SampleKey
from src.data.training_views import TrainingViews, seeded
from src.errors import DenseSiamError
from src.evaluation.detection_protocol import LARGEST
from src.short_side import short_side_size


class ShortSide(TrainingViews):
    """Resizes the shorter side to a length that is drawn for each image, and mirrors the image at random.

    Args:
        sides: lengths in pixels, of which one is drawn.
        longest: the longer side becomes no longer than this, in pixels; then the shorter side is below the drawn one.
        flip_probability: probability that the image is mirrored.

    Raises:
        DenseSiamError: a value is out of its range.
    """

    def __init__(self, sides: Sequence[int], longest: int, flip_probability: float) -> None:
        given: object = sides  # the config does not check types
        if isinstance(given, str) or not isinstance(given, Sequence) or not given:
            raise DenseSiamError(f"data.views.sides is {given!r}: expected a list of lengths, such as [480,800]")
        for side in given:
            check_int("data.views.sides", side, low=1, high=LARGEST)
        check_int("data.views.longest", longest, low=LONGEST_RATIO, high=LARGEST)
        if longest < max(given):
            raise DenseSiamError(
                f"data.views.longest is {longest} and data.views.sides has {max(given)}: expected the longer side to "
                "be at least the shorter; raise data.views.longest"
            )
        check_number("data.views.flip_probability", flip_probability, low=0, high=1)
        self.sides, self.longest = tuple(given), longest
        self.flip = v2.RandomHorizontalFlip(flip_probability)

    def __call__(self, image: Tensor, label: Label) -> tuple[Tensor, Label]:
        """An image (3, H, W) uint8 and its objects, resized and mirrored alike; see `DetectionImages.objects`.

        torchvision's `RandomShortestSize` rounds sides down, so that a shorter side of 667 becomes 799 instead of 800;
        here they are rounded as for scoring.
        """
        height, width = image.shape[1:]
        side = self.sides[int(torch.randint(len(self.sides), ()))]
        transform = v2.Compose([v2.Resize(short_side_size(height, width, side, self.longest)), self.flip])
        boxes = tv_tensors.BoundingBoxes(
            clipped(label["boxes"], width, height), format="XYXY", canvas_size=(height, width)
        )
        marked = {"image": tv_tensors.Image(image), "boxes": boxes}
        if "masks" in label:
            marked["masks"] = tv_tensors.Mask(label["masks"])
        plain = {name: value.as_subclass(Tensor) for name, value in transform(marked).items()}
        shown = plain.pop("image")
        moved = {**label, **plain}
        keep = inside(moved, shown.shape[2], shown.shape[1])
        if "masks" in moved:
            keep &= moved["masks"].flatten(1).any(dim=1).bool()
        return shown, chosen(moved, keep)

    def samples(self, reader: Reader, num_classes: int, seed: int) -> "TrainedObjects":
        if not isinstance(reader.images, DetectionImages):
            raise DenseSiamError(
                "data/views=short_side shows images with boxes, but the data has none: set data=voc_detection or "
                "data=coco_detection, or other views"
            )
        return TrainedObjects(reader.images, reader, self, seed)


class TrainedObjects(Dataset[dict[str, Any]]):
    """Images with the objects to train on. The random numbers of an item depend on (seed, epoch, index) only.

    An item is a sample of `src.data.detection.collate`'s batch.

    Args:
        images: the images.
        reader: reader of these images.
        views: resizes and mirrors.
        seed: seed of the run.
    """

    def __init__(self, images: DetectionImages, reader: Reader, views: ShortSide, seed: int) -> None:
        self.images, self.reader, self.views, self.seed = images, reader, views, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        seed = key.seed(self.seed)
        (image, label), fault = self.reader.read_or_other(self._read, key.index, seed)
        if not self.images.trains_on_ignored:
            label = chosen(label, ~label["ignored"])
        with seeded(seed):
            image, label = self.views(image, label)
        return {"image": image, "label": label, "index": key.index, "unreadable": fault}

    def _read(self, index: int) -> tuple[Tensor, Label]:
        return read_sample(self.images, index)
