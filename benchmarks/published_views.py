"""Plain twins of published loaders: what they do to an image file, in their order and with the libraries that they use.

`benchmarks.loading` compares the program with them. Each function is a loader of one file.
"""

import random
from pathlib import Path

import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional as F
from torchvision import transforms as v1
from torchvision.transforms import functional as tf
from torchvision.transforms import v2

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
LARGE, SMALL = 640, 320  # sides of the images of the release

BRIGHTNESS, CONTRAST, SATURATION = (v1.ColorJitter(**{name: 0.3}) for name in ("brightness", "contrast", "saturation"))
RELEASE_CHANGES = ((BRIGHTNESS, 0.8), (CONTRAST, 0.8), (SATURATION, 0.8), (v1.ColorJitter(hue=0.1), 0.8))


def pillow(path: Path) -> Image.Image:
    """Decode a file as torchvision's datasets do."""
    with open(path, "rb") as file:
        return Image.open(file).convert("RGB")


def release_colours(image: Image.Image) -> Image.Image:
    """The colours of DenseSiam's release (and PiCIE), on an image of 640 pixels."""
    for change, probability in RELEASE_CHANGES:
        if random.random() < probability:
            image = change(image)
    if random.random() < 0.2:
        image = v1.functional.to_grayscale(image, 3)
    if random.random() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(abs(random.uniform(-1.8, 0.1))))
    return image


def release(path: Path) -> tuple[Tensor, Tensor]:
    """The two views of DenseSiam's release: a crop, and the whole square of the image's centre.

    Returns:
        two (3, 320, 320) float32.
    """
    square = tf.center_crop(tf.resize(pillow(path), LARGE), [LARGE, LARGE])
    first, second = release_colours(square), release_colours(square)
    side = int(random.uniform(0.5, 1) * LARGE)
    left, top = (random.randint(0, LARGE - side) for _ in range(2))
    crop = normalised(first)[:, top : top + side, left : left + side]
    crop = F.interpolate(crop[None], SMALL, mode="bilinear", align_corners=False)[0]
    return crop.flip(2) if random.random() < 0.5 else crop, normalised(
        second.resize((SMALL, SMALL), Image.Resampling.BILINEAR)
    )


def normalised(image: Image.Image) -> Tensor:
    """An image as (3, H, W) float32 with ImageNet's mean and deviation."""
    return tf.normalize(tf.to_tensor(image), MEAN, STD)


class PillowBlur:
    """Blurs with Pillow, with a random radius."""

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


SIMSIAM = v1.Compose(
    [
        v1.RandomResizedCrop(224, scale=(0.2, 1.0)),
        v1.RandomApply([v1.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
        v1.RandomGrayscale(0.2),
        v1.RandomApply([PillowBlur()], 0.5),
        v1.RandomHorizontalFlip(),
        v1.ToTensor(),
        v1.Normalize(MEAN, STD),
    ]
)
LIGHTLY = v2.Compose(
    [
        v2.RandomResizedCrop(224, scale=(0.2, 1.0)),
        v2.RandomHorizontalFlip(0.5),
        v2.RandomVerticalFlip(0.0),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
        v2.RandomGrayscale(0.2),
        v2.RandomApply([PillowBlur()], 0.5),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(MEAN, STD),
    ]
)


def simsiam(path: Path) -> list[Tensor]:
    """The two views of facebookresearch/simsiam, `main_simsiam.py`: (3, 224, 224) float32 each."""
    image = pillow(path)
    return [SIMSIAM(image), SIMSIAM(image)]


def lightly(path: Path) -> list[Tensor]:
    """The two views of `lightly.transforms.SimSiamTransform` of lightly 1.6: (3, 224, 224) float32 each."""
    image = pillow(path)
    return [LIGHTLY(image), LIGHTLY(image)]
