"""Which decoders may see a file, whatever its name: those of the listed formats, and never a program."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import EpsImagePlugin, Image

from src.images.formats import FORMATS, SUFFIXES
from src.images.reading import UnreadableFileError, open_image, open_label
from tests.data.broken import raw_png
from tests.refusals import refusal

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(evil) run\nshowpage\n%%EOF\n"
SIDE = 60_000
GIF_SIDE, JPEG_SIDE, WEBP_SIDE = 65_535, 65_500, 16_383  # the formats' own limits


@pytest.mark.parametrize("reader", [open_image, open_label])
@pytest.mark.parametrize("name", ["image.jpg", "image.png", "image.eps"])
def test_postscript_starts_no_program(
    reader: Callable[[Path], Any], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def started_with(*arguments: Any, **options: Any) -> Image.Image:
        started.append(arguments)
        return Image.new("RGB", (8, 8))

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", started_with)
    (tmp_path / name).write_bytes(POSTSCRIPT)
    refusal(lambda: reader(tmp_path / name), tmp_path / name, "not a known kind of image")
    assert started == []


@pytest.mark.parametrize("reader", [open_image, open_label])
def test_no_other_decoder_is_asked(
    reader: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.init()
    others = set(Image.OPEN) - set(FORMATS)
    assert {"EPS", "WMF", "IPTC", "PSD", "FITS"} <= others
    asked = []

    def asks(format: str) -> Callable[..., Image.Image]:
        def opened(*arguments: Any) -> Image.Image:
            asked.append(format)
            return Image.new("L", (8, 8))

        return opened

    for format in others:
        monkeypatch.setitem(Image.OPEN, format, (asks(format), None))
    (tmp_path / "image.png").write_bytes(b"of no kind")
    refusal(lambda: reader(tmp_path / "image.png"), "not a known kind of image")
    assert asked == []


def test_suffixes_and_formats_fit() -> None:
    known = Image.registered_extensions()
    assert {suffix: known[suffix] for suffix in SUFFIXES} == {
        suffix: format for format, suffixes in FORMATS.items() for suffix in suffixes
    }
    assert SUFFIXES == (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


def tiff(side: int) -> bytes:
    tags = [(256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, side), (279, side * side)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value & 0xFFFFFFFF) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4)


def jpeg_header(side: int) -> bytes:
    frame = struct.pack(">HBHHBBBB", 11, 8, side, side, 1, 1, 0x11, 0)
    return b"\xff\xd8" + b"\xff\xc0" + frame + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + b"\1\2\3\xff\xd9"


def webp_header(side: int) -> bytes:
    size = (side - 1) | (side - 1) << 14
    frame = b"\x2f" + struct.pack("<I", size) + bytes(8)
    chunk = b"VP8L" + struct.pack("<I", len(frame)) + frame + bytes(len(frame) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


BOMBS = {
    "PNG": raw_png(8, 2, SIDE, SIDE, []),
    "BMP": b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, SIDE, SIDE, 1, 24, 0, 0, 1, 1, 0, 0),
    "GIF": b"GIF89a" + struct.pack("<HHBBB", GIF_SIDE, GIF_SIDE, 0, 0, 0) + b",\0\0\0\0\1\0\1\0\0\2\2D\1\0;",
    "JPEG": jpeg_header(JPEG_SIDE),
    "PPM": f"P6 {SIDE} {SIDE} 255\n".encode() + b"\1\2\3",
    "TIFF": tiff(SIDE),
    "WEBP": webp_header(WEBP_SIDE),
}


@pytest.mark.parametrize("reader", [open_image, open_label])
@pytest.mark.parametrize("format", FORMATS)
def test_a_header_of_far_too_many_pixels_is_refused(
    reader: Callable[[Path], Any], format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a pixel is decoded: as an unreadable file, so that `data.on_corrupt` decides."""
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: pytest.fail(f"{image.size} is decoded"))
    path = tmp_path / "bomb.png"
    path.write_bytes(BOMBS[format])
    said = refusal(lambda: reader(path), path, "exceeds limit of 178956970 pixels")
    with pytest.raises(UnreadableFileError, match="replace or remove"):
        reader(path)
    assert len(said) < 300
