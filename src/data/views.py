"""Two views of one image, and where they overlap (paper 3.1, 3.2; section 4 for segmentation)."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from src.checks import check_int, check_made, check_number, check_span
from src.data.reading import Reader
from src.data.sampling import SampleKey
from src.data.training_views import TrainingViews, seeded
from src.errors import DenseSiamError
from src.evaluation.protocol import LARGEST
from src.geometry import Crop, overlap_boxes
from src.images.resizing import centre_square, to_tensor


class TwoViews(TrainingViews):
    """Makes two views of an image, with random numbers from torch's default generator."""

    @abstractmethod
    def __call__(self, image: Image.Image) -> dict[str, Any]:
        """Two views of an image.

        Returns:
            {"views": two (3, H, W) uint8, "boxes": (2, 4) float32, "valid": bool, "redrawn": int}: see `overlap_boxes`
            for boxes and valid; redrawn counts how often the pair was drawn again because its views overlapped too
            little.
        """

    def samples(self, reader: Reader, num_classes: int, seed: int) -> "ViewPairs":
        return ViewPairs(reader, self, seed)


def colour_augmentation(
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    jitter_probability: float,
    grey_probability: float,
    blur_probability: float,
    blur_sigma: Sequence[float],
) -> v2.Transform:
    """Colour jitter, greyscale and blur, as torchvision defines them.

    Args:
        brightness, contrast, saturation: strengths of the jitter, 0 to 100.
        hue: strength of the jitter of the hue, 0 to 0.5. All four are applied together, in random order.
        jitter_probability, grey_probability, blur_probability: probability of each part.
        blur_sigma: smallest and largest standard deviation of the blur, in pixels of the view.

    Raises:
        DenseSiamError: a value is out of its range.
    """
    place = "data.views.colour"
    for name, strength in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
        check_number(f"{place}.{name}", strength, low=0, high=100)
    check_number(f"{place}.hue", hue, low=0, high=0.5)
    check_number(f"{place}.jitter_probability", jitter_probability, low=0, high=1)
    check_number(f"{place}.grey_probability", grey_probability, low=0, high=1)
    check_number(f"{place}.blur_probability", blur_probability, low=0, high=1)
    check_span(f"{place}.blur_sigma", blur_sigma, above=0, high=100)
    kernel = 2 * max(1, round(3 * blur_sigma[1])) + 1
    return v2.Compose(
        [
            v2.RandomApply([v2.ColorJitter(brightness, contrast, saturation, hue)], jitter_probability),
            v2.RandomGrayscale(grey_probability),
            v2.RandomApply([v2.GaussianBlur(kernel, list(blur_sigma))], blur_probability),
        ]
    )


def view(image: Image.Image, crop: Crop, size: int, colour: v2.Transform) -> Tensor:
    """Cut out a crop, resize it with antialiasing, mirror it if `crop.flip`, change its colours.

    Returns:
        (3, size, size) uint8.
    """
    box = (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
    small = image.resize((size, size), Image.Resampling.BILINEAR, box)
    if crop.flip:
        small = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    coloured: Tensor = colour(to_tensor(small))
    return coloured.contiguous()  # greyscale repeats one channel without copying it


def check_view(size: int, flip_probability: float, colour: v2.Transform) -> None:
    """Check the arguments that both kinds of views have.

    Raises:
        DenseSiamError: a value is out of its range, or the blur reaches further than a view is large.
    """
    check_int("data.views.size", size, low=1, high=LARGEST)
    check_number("data.views.flip_probability", flip_probability, low=0, high=1)
    check_made("data.views.colour", colour, callable, "the values of data.views.colour")
    reach = max(
        (kernel // 2 for each in within(colour) if isinstance(each, v2.GaussianBlur) for kernel in each.kernel_size),
        default=0,
    )
    if reach >= size:
        raise DenseSiamError(
            f"data.views.colour.blur_sigma blurs over {reach} pixels to each side, and the views have {size}: expected "
            "less; lower it with the size"
        )


def within(transform: Any) -> Iterator[Any]:
    """A transform and all transforms inside it, without those whose probability is 0."""
    yield transform
    for inner in getattr(transform, "transforms", ()) if getattr(transform, "p", 1) else ():
        yield from within(inner)


class CropAndWhole(TwoViews):
    """The views for segmentation: a random square crop, mirrored at random, and the whole square of the image's centre.

    Both are cut directly from the source image, with boxes that are not rounded. Each view then gets colours of its
    own.

    Args:
        size: side of both views in pixels.
        crop_scale: smallest and largest side of the crop, as a fraction of the side of the whole square.
        flip_probability: probability that the crop is mirrored.
        colour: colour augmentation, applied to each view separately.

    Raises:
        DenseSiamError: a value is out of its range.
    """

    def __init__(self, size: int, crop_scale: Sequence[float], flip_probability: float, colour: v2.Transform) -> None:
        check_view(size, flip_probability, colour)
        check_span("data.views.crop_scale", crop_scale, above=0, high=1)
        self.size = size
        self.smallest, self.largest = crop_scale
        self.flip_probability, self.colour = flip_probability, colour

    def __call__(self, image: Image.Image) -> dict[str, Any]:
        left, top, side = centre_square(image)
        scale, x, y, coin = torch.rand(4, dtype=torch.float64).tolist()
        crop_side = side * (self.smallest + scale * (self.largest - self.smallest))
        room = side - crop_side
        crop = Crop(left + x * room, top + y * room, crop_side, crop_side, flip=coin < self.flip_probability)
        whole = Crop(left, top, side, side)
        boxes, valid = overlap_boxes(crop, whole)
        views = tuple(view(image, shown, self.size, self.colour) for shown in (crop, whole))
        return {"views": views, "boxes": boxes, "valid": valid, "redrawn": 0}


class TwoCrops(TwoViews):
    """The views for pre-training: two independent random resized crops, each mirrored at random (paper 3.1, 5.1).

    Crops are drawn like those of torchvision's `RandomResizedCrop`, in whole pixels. Where a pair overlaps too little,
    both crops are drawn again, so that both keep the same distribution. A pair that still overlaps too little after the
    last draw is not valid.

    Args:
        size: side of both views in pixels; smaller crops are enlarged.
        scale: smallest and largest area of a crop, as a fraction of the image's area.
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
        colour: v2.Transform,
    ) -> None:
        check_view(size, flip_probability, colour)
        check_span("data.views.scale", scale, above=0, high=1)
        check_span("data.views.ratio", ratio, low=0.01, high=100)
        check_number("data.views.min_overlap", min_overlap, low=0, below=1)
        check_int("data.views.max_redraws", max_redraws, high=1000)
        self.scale, self.ratio = tuple(scale), tuple(ratio)
        self.size, self.min_overlap, self.max_redraws = size, min_overlap, max_redraws
        self.flip_probability, self.colour = flip_probability, colour

    def __call__(self, image: Image.Image) -> dict[str, Any]:
        for redrawn in count():
            crops = self._crop(image), self._crop(image)
            boxes, valid = overlap_boxes(*crops, self.min_overlap)
            if valid or redrawn >= self.max_redraws:
                break
        views = tuple(view(image, crop, self.size, self.colour) for crop in crops)
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
        views: makes the two views of an image, see `TwoViews`.
        seed: seed of the run.
    """

    def __init__(self, reader: Reader, views: TwoViews, seed: int) -> None:
        self.reader, self.views, self.seed = reader, views, seed

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        seed = key.seed(self.seed)
        image, fault = self.reader.image_or_other(key.index, seed)
        with seeded(seed):
            return {**self.views(image), "index": key.index, "unreadable": fault}
