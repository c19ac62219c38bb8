"""Two views of one image, and where they overlap (paper 3.1, 3.2; section 4 for segmentation)."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from itertools import count
from math import ceil
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset
from torchvision.transforms import v2

from src.checks import check_int, check_made, check_number, check_span
from src.data.colours import ColourAugmentation
from src.data.reading import Reader
from src.data.sampling import SampleKey
from src.data.training_views import TrainingViews, seeded
from src.errors import DenseSiamError
from src.evaluation.protocol import LARGEST
from src.geometry import Crop, overlap_boxes
from src.images.resizing import centre_square, to_tensor

Colour = Callable[[Tensor], Tensor]
SMALLEST = 1e-4  # size of a crop, as a fraction: that of far smaller ones can't be inverted or added to a position


class TwoViews(TrainingViews):
    """Makes two views of an image, with random numbers from torch's default generator.

    Args:
        size: side of both views in pixels.
        flip_probability: probability that a crop is mirrored.
        colour: changes the colours of a view (3, H, W) uint8 at random; it is applied to each view separately.

    Raises:
        DenseSiamError: a value is out of its range, or the blur reaches further than a view is large.
    """

    def __init__(self, size: int, flip_probability: float, colour: Colour) -> None:
        check_int("data.views.size", size, low=1, high=LARGEST)
        check_number("data.views.flip_probability", flip_probability, low=0, high=1)
        check_made("data.views.colour", colour, callable, "the values of data.views.colour")
        reach = colour.reach if isinstance(colour, ColourAugmentation) else 0
        if reach >= size:
            raise DenseSiamError(
                f"data.views.colour.blur_sigma blurs over {reach} pixels to each side, and the views have {size}: "
                "expected less; lower it with the size"
            )
        self.size, self.flip_probability, self.colour = size, flip_probability, colour

    @property
    @abstractmethod
    def least(self) -> int:
        """The shorter side in pixels at which no crop of an image is enlarged; larger images may be read reduced."""

    @abstractmethod
    def cut(self, image: Image.Image) -> dict[str, Any]:
        """Two views of an image, with the colours of the image.

        Returns:
            {"views": two (3, H, W) uint8, "boxes": (2, 4) float32, "valid": bool, "redrawn": int}: see `overlap_boxes`
            for boxes and valid; redrawn counts how often the pair was drawn again because its views overlapped too
            little.
        """

    def __call__(self, image: Image.Image) -> dict[str, Any]:
        """Two views of an image with changed colours, see `cut`."""
        sample = self.cut(image)
        return sample | {"views": tuple(map(self.colour, sample["views"]))}

    def samples(self, reader: Reader, num_classes: int, seed: int) -> "ViewPairs":
        return ViewPairs(reader, self, seed)

    def with_colours_left(self) -> "UncolouredViews":
        if not isinstance(self.colour, ColourAugmentation):
            raise DenseSiamError(
                f"data.augment_on is device, and data.views.colour is {type(self.colour).__name__}: expected "
                "ColourAugmentation, which can be drawn first and applied later; set data.augment_on=loader"
            )
        return UncolouredViews(self, self.colour)


class UncolouredViews(TrainingViews):
    """Cuts two views, and draws the change of their colours without applying it.

    A sample has one more key: `colours`, the `ColourDraws` of both views. `src.data.colours.recoloured_views` applies
    them to a batch. All draws are those of `views`.

    Args:
        views: cuts the views.
        colour: draws the changes of colours.
    """

    def __init__(self, views: TwoViews, colour: ColourAugmentation) -> None:
        self.views, self.colour, self.least = views, colour, views.least

    def __call__(self, image: Image.Image) -> dict[str, Any]:
        sample = self.views.cut(image)
        return sample | {"colours": tuple(self.colour.draw() for _ in sample["views"])}

    def samples(self, reader: Reader, num_classes: int, seed: int) -> "ViewPairs":
        return ViewPairs(reader, self, seed)

    def with_colours_left(self) -> "UncolouredViews":
        return self


def view(image: Image.Image, crop: Crop, size: int) -> Tensor:
    """Cut out a crop, resize it with antialiasing, mirror it if `crop.flip`.

    Returns:
        (3, size, size) uint8.
    """
    left, top, right, bottom = crop.left, crop.top, crop.left + crop.width, crop.top + crop.height
    if all(float(edge).is_integer() for edge in (left, top, right, bottom)):
        pixels = torch.from_numpy(np.array(image.crop((int(left), int(top), int(right), int(bottom))))).permute(2, 0, 1)
        # The same filter as Pillow's, several times as fast for bytes whose three channels lie side by side.
        small = F.interpolate(pixels[None], (size, size), mode="bilinear", antialias=True)[0]
    else:
        small = to_tensor(image.resize((size, size), Image.Resampling.BILINEAR, (left, top, right, bottom)))
    return (small.flip(2) if crop.flip else small).contiguous()


class CropAndWhole(TwoViews):
    """The views for segmentation: a random square crop, mirrored at random, and the whole square of the image's centre.

    Both are cut directly from the source image, with boxes that are not rounded. Each view then gets colours of its
    own.

    Args:
        size: side of both views in pixels.
        crop_scale: smallest and largest side of the crop, as a fraction of the side of the whole square, 0.0001 to 1.
        flip_probability: probability that the crop is mirrored.
        colour: colour augmentation, applied to each view separately.

    Raises:
        DenseSiamError: a value is out of its range.
    """

    def __init__(self, size: int, crop_scale: Sequence[float], flip_probability: float, colour: Colour) -> None:
        super().__init__(size, flip_probability, colour)
        check_span("data.views.crop_scale", crop_scale, low=SMALLEST, high=1)
        self.smallest, self.largest = crop_scale

    @property
    def least(self) -> int:
        return ceil(self.size / self.smallest)

    def cut(self, image: Image.Image) -> dict[str, Any]:
        left, top, side = centre_square(image)
        scale, x, y, coin = torch.rand(4, dtype=torch.float64).tolist()
        crop_side = side * (self.smallest + scale * (self.largest - self.smallest))
        room = side - crop_side
        crop = Crop(left + x * room, top + y * room, crop_side, crop_side, flip=coin < self.flip_probability)
        whole = Crop(left, top, side, side)
        boxes, valid = overlap_boxes(crop, whole)
        views = tuple(view(image, shown, self.size) for shown in (crop, whole))
        return {"views": views, "boxes": boxes, "valid": valid, "redrawn": 0}


class TwoCrops(TwoViews):
    """The views for pre-training: two independent random resized crops, each mirrored at random (paper 3.1, 5.1).

    Crops are drawn like those of torchvision's `RandomResizedCrop`, in whole pixels. Where a pair overlaps too little,
    both crops are drawn again, so that both keep the same distribution. A pair that still overlaps too little after the
    last draw is not valid.

    Args:
        size: side of both views in pixels; smaller crops are enlarged.
        scale: smallest and largest area of a crop, as a fraction of the image's area, 0.0001 to 1.
        ratio: smallest and largest aspect ratio of a crop, width / height.
        min_overlap: the overlap must be wider and higher than this fraction of the smaller crop's width and height.
        max_redraws: how often a pair is drawn again at most.
        flip_probability: probability that a crop is mirrored.
        colour: colour augmentation, applied to each view separately.

    Raises:
        DenseSiamError: a value is out of its range.
    """

    def __init__(
        self,
        size: int,
        scale: Sequence[float],
        ratio: Sequence[float],
        min_overlap: float,
        max_redraws: int,
        flip_probability: float,
        colour: Colour,
    ) -> None:
        super().__init__(size, flip_probability, colour)
        check_span("data.views.scale", scale, low=SMALLEST, high=1)
        check_span("data.views.ratio", ratio, low=0.01, high=100)
        check_number("data.views.min_overlap", min_overlap, low=0, below=1)
        check_int("data.views.max_redraws", max_redraws, high=1000)
        self.scale, self.ratio = tuple(scale), tuple(ratio)
        self.min_overlap, self.max_redraws = min_overlap, max_redraws

    @property
    def least(self) -> int:
        return ceil(self.size / (self.scale[0] * min(self.ratio[0], 1 / self.ratio[1])) ** 0.5)

    def cut(self, image: Image.Image) -> dict[str, Any]:
        for redrawn in count():
            crops = self._crop(image), self._crop(image)
            boxes, valid = overlap_boxes(*crops, self.min_overlap)
            if valid or redrawn >= self.max_redraws:
                break
        views = tuple(view(image, crop, self.size) for crop in crops)
        return {"views": views, "boxes": boxes, "valid": valid, "redrawn": redrawn}

    def _crop(self, image: Image.Image) -> Crop:
        top, left, height, width = v2.RandomResizedCrop.get_params(image, self.scale, self.ratio)
        return Crop(left, top, width, height, flip=torch.rand(()).item() < self.flip_probability)


class ViewPairs(Dataset[dict[str, Any]]):
    """Pairs of views. The random numbers of a pair depend on (seed, epoch, index) only.

    An item is the dict that `views` returns, with two more keys: `index`, the index of the image, and `unreadable`. If
    the image could not be read, the views show another image, and `unreadable` is the error; otherwise it is "".

    Args:
        reader: reads the images; labels are never read.
        views: makes the two views of an image.
        seed: seed of the run.
    """

    def __init__(self, reader: Reader, views: TwoViews | UncolouredViews, seed: int) -> None:
        self.reader, self.views, self.seed = reader, views, seed

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        seed = key.seed(self.seed)
        image, fault = self.reader.image_or_other(key.index, seed, self.views.least)
        with seeded(seed):
            return {**self.views(image), "index": key.index, "unreadable": fault}
