"""Image files as people have them, odd but whole, and what each of them shows once loaded."""

import numpy as np
from PIL import Image, ImageCms

from tests.data.broken import COLOURS, PICTURE, Sample, encoded, jpeg, png, raw_png

GREYS = np.arange(1024).reshape(32, 32).astype(np.uint8)
DEEP = (np.arange(1024) * 64).reshape(32, 32).astype(np.uint16)  # 0 to 65472
LEFT = np.tile(np.arange(32) < 16, (32, 1))
NOT_RED = (COLOURS[0, 0] != COLOURS).any(axis=2)
ALPHA = Image.fromarray(np.where(LEFT, 255, 0).astype(np.uint8))
PALETTE = PICTURE.quantize(4)


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[:, :, None], 3, axis=2)


def on_white(opaque: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    return np.where(opaque[:, :, None], pixels, 255).astype(np.uint8)


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def ycck() -> bytes:
    """A JPEG of luminance, chrominance and black. Adobe stores inks inverted, so that they are as red, green, blue."""
    luminance = Image.fromarray(255 - COLOURS).convert("YCbCr").split()
    inverted = [channel.point(lambda value: 255 - value) for channel in (*luminance, Image.new("L", (32, 32), 255))]
    content = jpeg(Image.merge("CMYK", inverted))
    transform = content.index(b"Adobe") + 11
    return content[:transform] + b"\2" + content[transform + 1 :]


def without_adobe(content: bytes) -> bytes:
    start = content.index(b"\xff\xee")
    return content[:start] + content[start + 2 + int.from_bytes(content[start + 2 : start + 4], "big") :]


def lab() -> Image.Image:
    srgb, perceptual = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.profileToProfile(PICTURE, srgb, perceptual, outputMode="LAB")


def two_frames(format: str, **options: object) -> bytes:
    return encoded(format, save_all=True, append_images=[Image.new("RGB", (32, 32))], **options)


RED_CLEAR = bytes(0 if index == PALETTE.getpixel((0, 0)) else 255 for index in range(4))
WHITE = "transparent parts white"
SCALED = "scaled to 8 bit"
DEEP_SCALED = grey(np.rint(DEEP / 257).astype(np.uint8))
DEEP_COLOURS = (COLOURS.astype(np.uint16) * 257).astype(">u2")
COLUMN = grey(np.arange(200, dtype=np.uint8)[:, None])
ROW = grey((np.arange(20_000) // 80).astype(np.uint8)[None])
HALF_BLACK = np.uint8([[[0, 0, 0]], [[90, 80, 70]]]).repeat(32, axis=0).repeat(32, axis=1)  # BMP begins at the bottom
BLACKENED = encoded("BMP", Image.new("RGB", (32, 64), (90, 80, 70)))[: -32 * 32 * 3] + bytes(32 * 32 * 3)

ODD = [
    Sample("greyscale PNG", "grey.png", png(Image.fromarray(GREYS)), grey(GREYS)),
    Sample("greyscale JPEG", "grey8.jpg", jpeg(Image.fromarray(COLOURS[:, :, 0])), grey(COLOURS[:, :, 0]), 2),
    Sample(
        "greyscale with transparency",
        "veil.png",
        png(Image.merge("LA", [Image.fromarray(GREYS), ALPHA])),
        on_white(LEFT, grey(GREYS)),
        remark=WHITE,
    ),
    Sample("1 bit", "bit.png", png(Image.fromarray(LEFT)), grey(255 * LEFT.astype(np.uint8))),
    Sample(
        "RGBA", "rgba.png", png(Image.merge("RGBA", [*PICTURE.split(), ALPHA])), on_white(LEFT, COLOURS), remark=WHITE
    ),
    Sample(
        "RGB with a transparent colour (tRNS)",
        "trns.png",
        png(transparency=tuple(COLOURS[0, 0].tolist())),
        on_white(NOT_RED, COLOURS),
        remark=WHITE,
    ),
    Sample("palette", "palette.png", png(PALETTE), COLOURS),
    Sample(
        "palette with transparency",
        "clear.png",
        png(PALETTE, transparency=RED_CLEAR),
        on_white(NOT_RED, COLOURS),
        remark=WHITE,
    ),
    Sample("CMYK JPEG", "cmyk.jpg", jpeg(PICTURE.convert("CMYK")), COLOURS, 3),
    Sample(
        "CMYK JPEG without Adobe's marker",
        "inks.jpg",
        without_adobe(jpeg(PICTURE.convert("CMYK"))),
        COLOURS,
        3,
        "inks as Adobe stores them",
    ),
    Sample("YCCK JPEG", "ycck.jpg", ycck(), COLOURS, 4),
    Sample("CMYK TIFF", "inks4.tif", encoded("TIFF", PICTURE.convert("CMYK")), COLOURS),
    Sample("LAB TIFF", "lab.tif", encoded("TIFF", lab()), COLOURS, 5),
    Sample("16-bit grey PNG", "deep.png", png(Image.fromarray(DEEP)), DEEP_SCALED, remark=SCALED),
    Sample("16-bit grey TIFF", "deep16.tif", encoded("TIFF", Image.fromarray(DEEP)), DEEP_SCALED, remark=SCALED),
    Sample(
        "16-bit RGB PNG",
        "rgb16.png",
        raw_png(16, 2, 32, 32, [row.tobytes() for row in DEEP_COLOURS]),
        COLOURS,
        remark=SCALED,
    ),
    Sample(
        "JPEG turned by its EXIF data",
        "turned.jpg",
        jpeg(exif=exif(6)),
        np.rot90(COLOURS, -1),
        3,
        "upright; its labels have to be upright too",
    ),
    Sample("JPEG with damaged EXIF data", "exif.jpg", jpeg(exif=exif(6)[:16]), COLOURS, 3, "as stored, not turned"),
    Sample("1 x 200 pixels", "thin.png", png(Image.fromarray(COLUMN)), COLUMN),
    Sample("1 x 1 pixel", "dot.png", png(PICTURE.crop((0, 0, 1, 1))), COLOURS[:1, :1]),
    Sample("20,000 x 1 pixels", "long.png", png(Image.fromarray(ROW)), ROW),
    Sample("PNG named .jpg", "other.jpg", png(), COLOURS),
    Sample("JPEG named .png", "lossy.png", jpeg(), COLOURS, 3),
    Sample("animated GIF", "moving.gif", two_frames("GIF"), COLOURS, remark="its first frame"),
    Sample("MPO, two JPEGs in one", "mpo.jpg", two_frames("MPO", quality=95, subsampling=0), COLOURS, 3, "the first"),
    Sample("WebP", "web.webp", encoded("WEBP", lossless=True), COLOURS),
    Sample("BMP", "plain.bmp", encoded("BMP"), COLOURS),
    Sample("JPEG with other bytes after its end", "more.jpg", jpeg() + b"more" * 20 + bytes(8), COLOURS, 3),
    Sample("JPEG with zeros after its end", "padded.jpg", jpeg() + bytes(64), COLOURS, 3),
    Sample("name in another script", "写真.png", png(), COLOURS),
    Sample("name with a line break", "line\nbreak.png", png(), COLOURS),
    Sample("name that is not UTF-8", "na\udcefve.png", png(), COLOURS),
    Sample(
        "BMP or TIFF with zeros in place of its end",
        "black.bmp",
        BLACKENED,
        HALF_BLACK,
        remark="partly black: **not noticed**, as these formats have no checksum",
    ),
]
