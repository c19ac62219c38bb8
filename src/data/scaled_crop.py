"""Training on labels, as MMSegmentation does it: a random scale, a random crop, a mirror image, changed colours."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from src.checks import check_int, check_made, check_number, check_span
from src.data.checks import check_label, with_labels
from src.data.eval_datasets import check_length
from src.data.images import IGNORE_INDEX, LabelledImages
from src.data.reading import Reader
from src.data.sampling import SampleKey
from src.data.training_views import TrainingViews, seeded
from src.evaluation.protocol import LARGEST
from src.images.resizing import to_tensor

REDRAWN = 10  # a crop is drawn again so often at most
PADDING = {tv_tensors.Image: [124, 116, 104], tv_tensors.Mask: IGNORE_INDEX}  # ImageNet's mean colour, no class


class ScaledCrop(TrainingViews):
    """Resizes an image with its labels by a random factor and cuts out a random square; smaller images are padded.

    Args:
        size: side of the square in pixels.
        side: length to which the shorter side of an image is resized before the random factor; `own` keeps its size.
        scale: smallest and largest factor.
        most_of_one_class: a crop is drawn again while one class has at least this share of its labelled pixels, at most
            ten times; 1 never draws again.
        flip_probability: probability that the crop is mirrored.
        colour: colour augmentation.

    Raises:
        DenseSiamError: a value is out of its range.
    """

    def __init__(
        self,
        size: int,
        side: int | Literal["own"],
        scale: Sequence[float],
        most_of_one_class: float,
        flip_probability: float,
        colour: v2.Transform,
    ) -> None:
        check_int("data.views.size", size, low=1, high=LARGEST)
        if side != "own":
            check_int("data.views.side", side, 1, LARGEST, otherwise="or own for each image's own size")
        check_span("data.views.scale", scale, above=0, high=100)
        check_number("data.views.most_of_one_class", most_of_one_class, above=0, high=1)
        check_number("data.views.flip_probability", flip_probability, low=0, high=1)
        check_made("data.views.colour", colour, callable, "the values of data.views.colour")
        self.size, self.side, self.scale = size, side, tuple(scale)
        self.most_of_one_class, self.flip, self.colour = most_of_one_class, flip_probability, colour

    def samples(self, reader: Reader, num_classes: int, seed: int) -> "LabelledCrops":
        images = with_labels(
            reader.images,
            "data/views=scaled_crop trains on labels",
            "give each image its label map, or train on data with labels",
        )
        return LabelledCrops(images, reader, self, num_classes, seed)

    def __call__(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """A crop (3, size, size) and its labels (size, size), of an image (3, H, W) and its labels (H, W), uint8."""
        pair = (tv_tensors.Image(image), tv_tensors.Mask(label))
        shorter = min(image.shape[1:])
        low, high = self.scale
        factor = low + (high - low) * torch.rand(()).item()
        factor *= 1.0 if self.side == "own" else self.side / shorter
        sides = [max(2, round(side * factor)) for side in image.shape[1:]]  # torch can't resize to a single pixel
        resized = [functional.resize(each, sides, antialias=True) for each in pair]  # labels by their nearest pixel
        crop = self._crop(*resized)
        transform = v2.Compose([v2.RandomHorizontalFlip(self.flip), self.colour, self._padding(crop[0])])
        shown, classes = transform(*crop)
        return shown.as_subclass(torch.Tensor).contiguous(), classes.as_subclass(torch.Tensor).contiguous()

    def _crop(self, image: Tensor, label: Tensor) -> list[Tensor]:
        height, width = label.shape
        cut_height, cut_width = min(self.size, height), min(self.size, width)
        for _ in range(1 + REDRAWN):
            top = int(torch.randint(height - cut_height + 1, ()))
            left = int(torch.randint(width - cut_width + 1, ()))
            counts = label[top : top + cut_height, left : left + cut_width].flatten().bincount(minlength=IGNORE_INDEX)
            known = counts[:IGNORE_INDEX]
            if self.most_of_one_class == 1 or known.max() < self.most_of_one_class * known.sum():
                break
        return [functional.crop(each, top, left, cut_height, cut_width) for each in (image, label)]

    def _padding(self, crop: Tensor) -> v2.Transform:
        """What pads a crop on its right and below, as MMSegmentation does."""
        return v2.Pad([0, 0, self.size - crop.shape[2], self.size - crop.shape[1]], fill=PADDING)


def photometric_distortion(
    probability: float, brightness: float, contrast: float, saturation: float, hue: float
) -> v2.Transform:
    """The photometric distortion of MMSegmentation (and SSD), made of torchvision's changes of colour.

    Each of four changes is made with the same probability; that of the contrast comes before or after those of
    saturation and hue. torchvision's `RandomPhotometricDistort` exchanges the channels too, which MMSegmentation does
    not. Two changes differ: MMSegmentation adds up to 32 to all values where torchvision multiplies them (brightness),
    and multiplies all values where torchvision mixes the image with its mean grey (contrast).

    Args:
        probability: probability of each change, 0 to 1.
        brightness, contrast, saturation: largest change, as a fraction, 0 to 1.
        hue: largest change, as a fraction of the colour circle, 0 to 0.5.

    Raises:
        DenseSiamError: a value is out of its range.
    """
    place = "data.views.colour"
    check_number(f"{place}.probability", probability, low=0, high=1)
    for name, strength in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
        check_number(f"{place}.{name}", strength, low=0, high=1)
    check_number(f"{place}.hue", hue, low=0, high=0.5)
    strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
    jitters = {name: v2.ColorJitter(**{name: strength}) for name, strength in strengths.items()}
    of = {name: v2.RandomApply([jitter], probability) for name, jitter in jitters.items()}
    orders = (("contrast", "saturation", "hue"), ("saturation", "hue", "contrast"))
    rest = v2.RandomChoice([v2.Compose([of[name] for name in order]) for order in orders])
    return v2.Compose([of["brightness"], rest])


class LabelledCrops(Dataset[dict[str, Any]]):
    """Crops with their labels. The random numbers of an item depend on (seed, epoch, index) only.

    An item is {"image": (3, size, size) uint8, "label": (size, size) int64, "index": int, "unreadable": str}.

    Args:
        images: images and labels.
        reader: reader of these images. Where an image or its labels can't be read, both are those of another image.
        views: makes the crops.
        num_classes: number of classes.
        seed: seed of the run.

    Raises:
        DenseSiamError: when an item is read, see `check_label`; or the image is too long to be resized to a side.
    """

    def __init__(self, images: LabelledImages, reader: Reader, views: ScaledCrop, num_classes: int, seed: int) -> None:
        self.images, self.reader, self.views, self.num_classes, self.seed = images, reader, views, num_classes, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        seed = key.seed(self.seed)
        (image, label), fault = self.reader.read_or_other(self._read, key.index, seed)
        with seeded(seed):
            shown, classes = self.views(to_tensor(image), torch.from_numpy(np.array(label)))
        return {"image": shown, "label": classes.long(), "index": key.index, "unreadable": fault}

    def _read(self, index: int) -> tuple[Image.Image, Image.Image]:
        image, label = self.images.image(index), self.images.label(index)
        if self.views.side != "own":
            check_length(self.images.image_name(index), image.size, "remove it or set data.views.side=own")
        check_label(self.images, index, image, label, self.num_classes)
        return image, label
