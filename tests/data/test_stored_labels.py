"""Label files by how they store their values: read exactly as stored, or refused."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.images.reading import open_label
from tests.data.broken import encoded
from tests.refusals import refusal

VALUES = np.arange(64, dtype=np.uint8).reshape(8, 8)
VALUES[0, :4] = (255, 254, 17, 85)
PLACES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))  # Adam7


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def stored(values: np.ndarray, bits: int, colours: int = 0, before: bytes = b"", interlaced: bool = False) -> bytes:
    """A PNG with these values as its bits, by hand; a palette of colours that say nothing where it needs one."""
    passes = [values[top::down, left::right] for top, left, down, right in PLACES] if interlaced else [values]
    rows = b"".join(b"\0" + packed(row, bits) for one in passes for row in one)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, colours, 0, 0, int(interlaced))
    palette = chunk(b"PLTE", bytes(range(200, 203)) * 2**bits) if colours == 3 else b""
    parts = chunk(b"IHDR", header), before, palette, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def packed(row: np.ndarray, bits: int) -> bytes:
    if bits == 16:
        return row.astype(">u2").tobytes()
    single = np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - bits :]
    return np.packbits(single).tobytes()


def animated(values: np.ndarray) -> bytes:
    return encoded("PNG", Image.fromarray(values), save_all=True, append_images=[Image.fromarray(255 - values)])


def low(bits: int) -> np.ndarray:
    """What so many bits can hold of the values."""
    return VALUES & (2**bits - 1)


TRANSPARENT = chunk(b"tRNS", struct.pack(">H", 17))
READ = {
    "grey": (stored(VALUES, 8), VALUES),
    "grey, interlaced": (stored(VALUES, 8, interlaced=True), VALUES),
    "grey, one value transparent": (stored(VALUES, 8, before=TRANSPARENT), VALUES),
    "grey with a gamma and fewer significant bits": (
        stored(VALUES, 8, before=chunk(b"gAMA", struct.pack(">I", 100_000)) + chunk(b"sBIT", b"\4")),
        VALUES,
    ),
    "animated": (animated(VALUES), VALUES),
    **{f"palette of {bits} bits": (stored(low(bits), bits, 3), low(bits)) for bits in (1, 2, 4, 8)},
    "palette, interlaced": (stored(VALUES, 8, 3, interlaced=True), VALUES),
}
ONE = Image.fromarray(VALUES)
TWO = Image.fromarray(VALUES[:, :4] % 2 == 1)
PGM = b"P5 2 1 15\n\0\1"
REFUSED = {
    **{f"grey of {bits} bits": (stored(low(bits), bits), f"have {bits} bits") for bits in (2, 4)},
    "grey of 2 bits, interlaced": (stored(low(2), 2, interlaced=True), "have 2 bits"),
    "grey of 4 bits, one value transparent": (stored(low(4), 4, before=TRANSPARENT), "have 4 bits"),
    "1 bit": (stored(low(1), 1), "have mode 1"),
    "16 bits, all values below 256": (stored(VALUES, 16), "have mode I;16"),
    "grey with transparency": (encoded("PNG", ONE.convert("LA")), "have mode LA"),
    "three equal channels": (encoded("PNG", ONE.convert("RGB")), "have mode RGB"),
    "three equal channels with transparency": (encoded("PNG", ONE.convert("RGBA")), "have mode RGBA"),
    "JPEG": (encoded("JPEG", ONE), "are a JPEG, which changes the values"),
    "MPO": (encoded("MPO", ONE, save_all=True, append_images=[ONE]), "are a MPO, which changes the values"),
    "WebP": (encoded("WEBP", ONE), "are a WEBP, which changes the values"),
    "PGM of 4 bits": (PGM, "are a PPM"),
    "TIFF": (encoded("TIFF", ONE), "are a TIFF"),
    "TIFF that holds a JPEG": (encoded("TIFF", ONE, compression="jpeg"), "are a TIFF"),
    "BMP of 1 bit": (encoded("BMP", TWO), "are a BMP"),
    "GIF": (encoded("GIF", ONE), "are a GIF"),
}


@pytest.mark.parametrize("kind", READ)
def test_values_are_read_as_they_are_stored(kind: str, tmp_path: Path) -> None:
    content, values = READ[kind]
    (tmp_path / "label.png").write_bytes(content)
    np.testing.assert_array_equal(np.asarray(open_label(tmp_path / "label.png")), values)


@pytest.mark.parametrize("kind", REFUSED)
def test_values_that_could_be_others_are_refused(kind: str, tmp_path: Path) -> None:
    content, found = REFUSED[kind]
    path = tmp_path / "label.png"
    path.write_bytes(content)
    refusal(lambda: open_label(path), f"labels {path} {found}", "expected", "export them again")
