"""What a data set offers: images, and for scoring their labels; opening and preparing both."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor

from src.data.formats import FORMATS
from src.data.regular import open_regular
from src.errors import DenseSiamError

IGNORE_INDEX = 255
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
DIM = 4096  # 12-bit values in a 16-bit file end below it
LOSSY = ("JPEG", "MPO", "WEBP")
PADDING = 64  # zeros at least that an interrupted download leaves: it comes in blocks
CUT_BEYOND = 8  # sides longer than this many times the shorter one are cut before they are resized


class UnreadableFileError(DenseSiamError):
    """An image or its labels can't be decoded; the message names the file."""


class Images(Protocol):
    """Images to train on."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> Image.Image:
        """An RGB image.

        Raises:
            UnreadableFileError: it can't be decoded.
        """
        ...

    def image_name(self, index: int) -> str:
        """What a message calls the image."""
        ...


@runtime_checkable
class LabelledImages(Images, Protocol):
    """Images with one class per pixel, for scoring. `str()` of them is what the printed protocol calls the set."""

    def label(self, index: int) -> Image.Image:
        """The image's labels: 8 bit, one class per pixel, `IGNORE_INDEX` where there is none.

        Raises:
            UnreadableFileError: they can't be decoded.
        """
        ...

    def name(self, index: int) -> str:
        """What a message calls the image's labels."""
        ...


def open_image(path: Path) -> Image.Image:
    """Read a photograph as RGB in 8 bit, whatever its mode, turned as its EXIF data says.

    Transparent parts become white, as a page behind them would be. 16-bit greys are scaled, not clipped.

    Raises:
        UnreadableFileError: the file can't be decoded, or its values have no known range.
    """
    try:
        with _opened(path) as file:
            upright = ImageOps.exif_transpose(file)
            return _rgb(upright, file.format)
    except Exception as error:  # damaged bytes make Pillow's decoders raise nearly anything
        raise UnreadableFileError(
            f"can't read the image {path} ({_said(error)}): replace or remove the file"
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """An image file, closed afterwards whatever happens.

    Pillow's warnings are left out: of damaged EXIF data, which is no damage to the image, and of large images. More
    than twice its `MAX_IMAGE_PIXELS`, which are 178,956,970 pixels, it refuses by the header alone.
    """
    with warnings.catch_warnings(), open_regular(path) as content:
        warnings.simplefilter("ignore")
        with Image.open(content, formats=tuple(FORMATS)) as image:
            if image.format in ("JPEG", "MPO") and _ends_in_zeros(content):
                raise ValueError("its end is zeros, as an interrupted download leaves it")
            yield image


def _ends_in_zeros(content: BinaryIO) -> bool:
    """Whether a JPEG stops before its last marker and zeros follow: its decoder would fill the rest with grey.

    Fewer than `PADDING` zeros may end what a camera appends after that marker, such as a film.
    """
    here = content.tell()
    try:
        content.seek(-min(PADDING, content.seek(0, os.SEEK_END)), os.SEEK_END)
        if any(content.read()):
            return False
        content.seek(0)
        return not content.read().rstrip(b"\0").endswith(b"\xff\xd9")
    finally:
        content.seek(here)  # where Pillow goes on


def _rgb(image: Image.Image, format: str | None) -> Image.Image:
    if image.mode in SIXTEEN_BIT or (image.mode == "I" and format == "PNG"):
        values = np.asarray(image, dtype=np.float64)
        if values.max() < DIM:
            raise ValueError(f"16 bit, but no value above {values.max():.0f}: nearly black; scale its values")
        return Image.fromarray(np.uint8(values / 257 + 0.5)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode}, values without a known range")
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layers).convert("RGB")
    return image.convert("RGB")


def open_label(path: Path) -> Image.Image:
    """Read a PNG's 8-bit values, or its indices into a palette, without changing them.

    Grey of fewer bits is refused, as its values say two things: 1 of 4 bits is stored as 1 and shown as 17 of 255, and
    which of both is the class depends on the program that wrote the file.

    Raises:
        UnreadableFileError: the file can't be decoded.
        DenseSiamError: it is no PNG, has several channels, or grey of other than 8 bits.
    """
    try:
        with _opened(path) as label:
            kind, stored = label.format, str(label.tile[0].args) if label.tile else ""  # as Pillow names the bits
            label.load()
    except Exception as error:
        raise UnreadableFileError(
            f"can't read the labels {path} ({_said(error)}): replace or remove the file"
        ) from error
    expected = "expected 8 bit, one channel, its values classes; export them again"
    if kind != "PNG":
        lossy = ", which changes the values" if kind in LOSSY else ""
        raise DenseSiamError(f"labels {path} are a {kind}{lossy}: expected PNG; export them again")
    if label.mode not in ("L", "P"):
        raise DenseSiamError(f"labels {path} have mode {label.mode}: {expected}")
    if label.mode == "L" and stored != "L":
        raise DenseSiamError(f"labels {path} have {stored.removeprefix('L;')} bits for a grey value: {expected}")
    return label


def _said(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "what it holds is no known kind of image"
    reason = isinstance(error, OSError) and error.strerror  # without the path, which the message has already
    return " ".join((reason or str(error)).split()) or type(error).__name__


def centre_square(image: Image.Image) -> tuple[float, float, float]:
    """Left, top and side of the largest centred square, in pixels."""
    side = min(image.size)
    return (image.width - side) / 2, (image.height - side) / 2, side


def evaluation_crop(image: Image.Image, size: int, resample: Image.Resampling) -> Image.Image:
    """Resize the shorter side to `size`, then crop the centre square, as the release's `CocoEvalDataset` does."""
    resized = shorter_side_to(_without_ends(image), size, resample)
    left, top = round((resized.width - size) / 2), round((resized.height - size) / 2)
    return resized.crop((left, top, left + size, top + size))


def shorter_side_to(image: Image.Image, size: int, resample: Image.Resampling) -> Image.Image:
    """Resize, the longer side in proportion, rounded down."""
    width, height = (size * side // min(image.size) for side in image.size)
    return image.resize((width, height), resample)


def _without_ends(image: Image.Image) -> Image.Image:
    """Cut a very long image around its centre: resized whole, one of 1 x 10000 pixels would fill the memory."""
    longest = CUT_BEYOND * min(image.size)
    left, top = (max(0, side - longest) // 2 for side in image.size)
    return image.crop((left, top, image.width - left, image.height - top)) if left or top else image


def prepared(image: Image.Image, side: int | str, crop: bool, resample: Image.Resampling) -> Image.Image:
    """An image as `src.evaluation.protocol.Protocol` has it shown to the network."""
    if side == "own":
        left, top, square = (int(value) for value in centre_square(image))
        return image.crop((left, top, left + square, top + square)) if crop else image
    return evaluation_crop(image, int(side), resample) if crop else shorter_side_to(image, int(side), resample)


def to_tensor(image: Image.Image) -> Tensor:
    """RGB image to (3, H, W) uint8."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
