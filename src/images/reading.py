"""Reading image files: as 8-bit RGB, or as label maps."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from src.errors import DenseSiamError
from src.images.formats import FORMATS
from src.regular import open_regular

SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
DIM = 4096  # a 16-bit file whose values are all smaller holds 12-bit values, and would look nearly black
LOSSY = ("JPEG", "MPO", "WEBP")
PADDING = 64  # an interrupted download ends in at least this many zero bytes, because it is written in blocks


class UnreadableFileError(DenseSiamError):
    """An image or a label file can't be decoded; the message names the file."""


def open_image(path: Path, least: int | None = None, content: bytes | None = None) -> Image.Image:
    """Read an image of any mode as 8-bit RGB, rotated as its EXIF data says.

    Transparent parts become white, as on a white page. 16-bit grey values are scaled, not clipped.

    Args:
        path: path of the file.
        least: if given, a JPEG is decoded at the smallest of 1/8, 1/4 and 1/2 of its size at which both of its sides
            have this number of pixels; other images keep their size.
        content: the bytes of the image where they lie in an archive, and `path` only names it; None to read the file.

    Raises:
        UnreadableFileError: the file can't be decoded, or the range of its values is unknown.
    """
    try:
        with _opened(path, content) as file:
            if least is not None:
                file.draft(None, (least, least))
            file.load()
            ImageOps.exif_transpose(file, in_place=True)  # without a copy
            return to_rgb(file, file.format)
    except Exception as error:  # damaged bytes make Pillow's decoders raise nearly anything
        raise UnreadableFileError(
            f"can't read the image {path} ({_said(error)}): replace or remove the file"
        ) from error


@contextmanager
def _opened(path: Path, stored: bytes | None = None) -> Iterator[ImageFile.ImageFile]:
    """Open an image file, and close it afterwards even after an error.

    Pillow's warnings are not shown: damaged EXIF data does not damage the image, and large images are allowed. Pillow
    still refuses an image of more than twice its `MAX_IMAGE_PIXELS` (178,956,970 pixels), before it decodes the image.
    """
    with warnings.catch_warnings(), open_regular(path) if stored is None else BytesIO(stored) as content:
        warnings.simplefilter("ignore")
        with Image.open(content, formats=tuple(FORMATS)) as image:
            if image.format in ("JPEG", "MPO") and _ends_in_zeros(content):
                raise ValueError("its end is zeros, as an interrupted download leaves it")
            yield image


def _ends_in_zeros(content: BinaryIO) -> bool:
    """Whether a JPEG has zeros instead of its end: the decoder would fill the missing part with grey.

    Data that a camera appends after the end marker, such as a film, may end in zeros too, but in fewer than `PADDING`.
    """
    here = content.tell()
    try:
        content.seek(-min(PADDING, content.seek(0, os.SEEK_END)), os.SEEK_END)
        if any(content.read()):
            return False
        content.seek(0)
        return not content.read().rstrip(b"\0").endswith(b"\xff\xd9")
    finally:
        content.seek(here)  # Pillow continues to read from here


def to_rgb(image: Image.Image, format: str | None) -> Image.Image:
    """An image of any mode as 8-bit RGB, see `open_image`; the image itself if it is RGB already.

    Raises:
        ValueError: the range of its values is unknown.
    """
    if image.mode in SIXTEEN_BIT or (image.mode == "I" and format == "PNG"):
        values = np.asarray(image, dtype=np.float64)
        if values.max() < DIM:
            raise ValueError(f"16 bit, but no value above {values.max():.0f}: nearly black; scale its values")
        return Image.fromarray((values / 257 + 0.5).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode}, values without a known range")
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layers).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def open_label(path: Path) -> Image.Image:
    """Read the 8-bit values or the palette indices of a PNG, without changing them.

    Grey values of fewer bits are refused because they are ambiguous: a 4-bit value 1 is stored as 1 and shown as 17 of
    255, and it depends on the program that wrote the file which of the two is the class.

    Raises:
        UnreadableFileError: the file can't be decoded.
        DenseSiamError: the file is not a PNG, has several channels, or has grey values of other than 8 bits.
    """
    try:
        with _opened(path) as label:
            kind, stored = label.format, str(label.tile[0].args) if label.tile else ""  # Pillow names the bits here
            label.load()
    except Exception as error:
        raise UnreadableFileError(
            f"can't read the labels {path} ({_said(error)}): replace or remove the file"
        ) from error
    expected = "expected one 8-bit channel whose values are classes; export them again"
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
        return "its content is not a known kind of image"
    reason = isinstance(error, OSError) and error.strerror  # without the path: the message already has it
    return " ".join((reason or str(error)).split()) or type(error).__name__
