"""What a data set offers: images, and for scoring their labels; opening and preparing both."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from src.errors import DenseSiamError

IGNORE_INDEX = 255
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises for broken files


class Images(Protocol):
    """Images to train on."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> Image.Image:
        """An RGB image."""
        ...


class LabelledImages(Images, Protocol):
    """Images with one class per pixel, for scoring."""

    def label(self, index: int) -> Image.Image:
        """The image's labels: 8 bit, one class per pixel, `IGNORE_INDEX` where there is none."""
        ...

    def name(self, index: int) -> str:
        """What an error message calls the image's labels."""
        ...


def open_image(path: Path) -> Image.Image:
    """Read a photograph as RGB, turned as its EXIF data says.

    Raises:
        DenseSiamError: the file can't be decoded.
    """
    try:
        with Image.open(path) as file:
            upright = ImageOps.exif_transpose(file)
            return (upright.convert("RGBA") if upright.mode == "P" else upright).convert("RGB")  # P may be transparent
    except UNREADABLE as error:
        raise DenseSiamError(f"can't read the image {path} ({error}): replace or remove the file") from error


def open_label(path: Path) -> Image.Image:
    """Read an 8-bit label map without changing its values.

    Raises:
        DenseSiamError: the file can't be decoded, or is no single-channel 8-bit image.
    """
    try:
        with Image.open(path) as file:
            file.load()
            label = file
    except UNREADABLE as error:
        raise DenseSiamError(f"can't read the labels {path} ({error}): replace or remove the file") from error
    if label.mode not in ("L", "P"):
        raise DenseSiamError(f"labels {path} have mode {label.mode}: expected 8 bit, one channel, its values classes")
    return label


def centre_square(image: Image.Image) -> tuple[float, float, float]:
    """Left, top and side of the largest centred square, in pixels."""
    side = min(image.size)
    return (image.width - side) / 2, (image.height - side) / 2, side


def evaluation_crop(image: Image.Image, size: int, resample: Image.Resampling) -> Image.Image:
    """Resize the shorter side to `size`, then crop the centre square, as the release's `CocoEvalDataset` does."""
    width, height = (size * side // min(image.size) for side in image.size)
    resized = image.resize((width, height), resample)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return resized.crop((left, top, left + size, top + size))


def to_tensor(image: Image.Image) -> Tensor:
    """RGB image to (3, H, W) uint8."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


class WholeImages(Dataset[Tensor]):
    """Images alone, prepared as for scoring; item: (3, size, size) uint8."""

    def __init__(self, images: Images, size: int) -> None:
        self.images, self.size = images, size

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return to_tensor(evaluation_crop(self.images.image(index), self.size, Image.Resampling.BILINEAR))


class ScoredImages(Dataset[dict[str, Tensor]]):
    """Images with labels; item: {"image": (3, size, size) uint8, "label": (size, size) int64}.

    Args:
        images: see `LabelledImages`.
        size: of both.
        class_names: every label is an index of these, or `IGNORE_INDEX`.

    Raises:
        DenseSiamError: on reading: labels of another size than their image, or outside the classes.
    """

    def __init__(self, images: LabelledImages, size: int, class_names: Sequence[str]) -> None:
        self.images, self.size, self.num_classes = images, size, len(class_names)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image, label = self.images.image(index), self.images.label(index)
        if image.size != label.size:
            raise DenseSiamError(
                f"labels {self.images.name(index)} are {label.width} x {label.height}, their image is "
                f"{image.width} x {image.height}: expected the same size; resize neither, export the labels again"
            )
        values = np.unique(np.asarray(label))
        strange = values[(values >= self.num_classes) & (values != IGNORE_INDEX)]
        if strange.size:
            raise DenseSiamError(
                f"labels {self.images.name(index)} hold {strange.tolist()}: expected 0 to {self.num_classes - 1}, "
                f"or {IGNORE_INDEX} for pixels without a class; map them, or add the classes"
            )
        cropped = evaluation_crop(label, self.size, Image.Resampling.NEAREST)
        return {
            "image": to_tensor(evaluation_crop(image, self.size, Image.Resampling.BILINEAR)),
            "label": torch.from_numpy(np.array(cropped)).long(),
        }
