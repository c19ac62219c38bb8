"""Two views of one image, and where they overlap (paper 3.1, 3.2; section 4 for segmentation)."""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from src.checks import check_int, check_made, check_number, check_span
from src.data.images import centre_square, to_tensor
from src.data.reading import Reader
from src.data.sampling import SampleKey
from src.errors import DenseSiamError
from src.evaluation.protocol import LARGEST
from src.geometry import Crop, overlap_boxes


class TwoViews(Protocol):
    """Turns an image into two views; random numbers come from torch's default generator.

    Returns {"views": two (3, H, W) uint8, "boxes": (2, 4) float32, "valid": bool, "redrawn": int}: see `overlap_boxes`
    for boxes and valid; redrawn counts how often the pair was drawn again for want of overlap.
    """

    def __call__(self, image: Image.Image) -> dict[str, Any]: ...


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
    """Colour jitter, greyscale and blur on a small image; each range and probability as torchvision defines it.

    Args:
        brightness, contrast, saturation, hue: strengths of the jitter, applied together in random order.
        jitter_probability, grey_probability, blur_probability: of each part.
        blur_sigma: smallest and largest standard deviation, in pixels of the view.

    Raises:
        DenseSiamError: a value out of its range.
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
    """Cut a crop, resize it with antialiasing, mirror it if it says so, and colour it: (3, size, size) uint8."""
    box = (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
    small = image.resize((size, size), Image.Resampling.BILINEAR, box)
    if crop.flip:
        small = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    coloured: Tensor = colour(to_tensor(small))
    return coloured.contiguous()  # greyscale repeats one channel without copying it


def check_view(size: int, flip_probability: float, colour: v2.Transform) -> None:
    """Refuse what both kinds of views are told, where it is out of its range.

    Raises:
        DenseSiamError: the first such value.
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
    """A transform, and those that it ever applies."""
    yield transform
    for inner in getattr(transform, "transforms", ()) if getattr(transform, "p", 1) else ():
        yield from within(inner)


class CropAndWhole:
    """The views for segmentation: a random square crop, perhaps mirrored, and the whole centre-cropped image.

    Both are cut from the source image at once, with exact (not rounded) boxes; then each draws its own colours on the
    small image.

    Args:
        size: side of both views in pixels.
        crop_scale: smallest and largest side of the crop as a share of the whole square's.
        flip_probability: of mirroring the crop.
        colour: applied to each view separately.

    Raises:
        DenseSiamError: a value out of its range.
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


class TwoCrops:
    """The views for pre-training: two independent random resized crops, each perhaps mirrored (paper 3.1, 5.1).

    A rectangle is drawn as torchvision's `RandomResizedCrop` draws it, in whole pixels; images smaller than `size` are
    enlarged. A pair with too little overlap is drawn again, both crops of it, so that they stay alike in distribution;
    a pair that has still too little after the last draw is not valid.

    Args:
        size: side of both views in pixels.
        scale: smallest and largest area of a crop as a share of the image's.
        ratio: smallest and largest width of a crop as a multiple of its height.
        min_overlap: the overlap has to be wider and higher than this share of the smaller crop's width and height.
        max_redraws: how often a pair is drawn again at most.
        flip_probability: of mirroring a crop.
        colour: applied to each view separately.

    Raises:
        DenseSiamError: a value out of its range.
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
    """Pairs of views, drawn afresh for each epoch from (seed, epoch, index) alone.

    Item: what the views give, with `index` and `unreadable`: why another image stands in for this one, or empty.

    Args:
        reader: of the images; their labels, if any, are never read.
        views: see `TwoViews`.
        seed: of the run.
    """

    def __init__(self, reader: Reader, views: TwoViews, seed: int) -> None:
        self.reader, self.views, self.seed = reader, views, seed

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        seed = key.seed(self.seed)
        image, fault = self.reader.image_or_other(key.index, seed)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return {**self.views(image), "index": key.index, "unreadable": fault}
