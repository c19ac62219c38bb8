"""Image files that can't be read, are none or are left out, what makes image files of any kind, and data with them."""

import io
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from src.data.labelled_folder import LabelledFolder
from src.data.reading import OnCorrupt
from src.data.views import CropAndWhole
from src.evaluation.protocol import EvaluationProtocol

COLOURS = np.full((32, 32, 3), 255, np.uint8)  # red, green, blue and white quarters
COLOURS[:16, :16], COLOURS[:16, 16:], COLOURS[16:, :16] = (220, 30, 20), (30, 200, 40), (20, 40, 210)
PICTURE = Image.fromarray(COLOURS)
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


@dataclass(frozen=True)
class Sample:
    """A kind of file.

    Args:
        kind: what the table of docs/data.md calls it.
        name: of the file.
        content: its bytes, or what makes it at a path.
        pixels: (H, W, 3), what it shows once loaded; None if it can't be.
        tolerance: largest difference from these, in levels.
        remark: what the table adds about a file that is loaded.
    """

    kind: str
    name: str
    content: bytes | Callable[[Path], object]
    pixels: np.ndarray | None = None
    tolerance: int = 0
    remark: str = ""

    def write(self, path: Path) -> None:
        if isinstance(self.content, bytes):
            path.write_bytes(self.content)
        else:
            self.content(path)


def png(image: Image.Image = PICTURE, **options: Any) -> bytes:
    return encoded("PNG", image, **options)


def jpeg(image: Image.Image = PICTURE, **options: Any) -> bytes:
    sharp = {"subsampling": 0} if image.mode == "RGB" else {}
    return encoded("JPEG", image, quality=95, **sharp, **options)


def encoded(format: str, image: Image.Image = PICTURE, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def raw_png(bits: int, colour_type: int, width: int, height: int, rows: Iterable[bytes]) -> bytes:
    """A PNG written by hand: what Pillow can't write, or with another height than its header says."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def half_zeros(content: bytes) -> bytes:
    return half(content) + bytes(len(content) - len(half(content)))


def without_rights(path: Path) -> None:
    path.write_bytes(png())
    path.chmod(0)


STEREO = encoded("MPO", NOISE, save_all=True, append_images=[NOISE])
FORBIDDEN = Sample("no permission to read", "secret.png", without_rights)
UNREADABLE = [
    Sample("truncated JPEG", "half.jpg", half(jpeg(NOISE))),
    Sample("truncated PNG", "half.png", half(png(NOISE))),
    Sample("truncated GIF", "half.gif", half(encoded("GIF", NOISE))),
    Sample("truncated WebP", "half.webp", half(encoded("WEBP", NOISE))),
    Sample("truncated BMP", "half.bmp", half(encoded("BMP", NOISE))),
    Sample("truncated TIFF", "half.tif", half(encoded("TIFF", NOISE))),
    Sample(
        "JPEG whose second half is zeros, as an interrupted download leaves it", "zeros.jpg", half_zeros(jpeg(NOISE))
    ),
    Sample("MPO, two JPEGs, of which the first is half zeros", "two.jpg", half_zeros(half(STEREO))),
    Sample("PNG whose second half is zeros", "zeros.png", half_zeros(png(NOISE))),
    Sample("empty file", "empty.jpg", b""),
    Sample("text named .jpg", "text.jpg", b"to be done\n"),
    Sample("PostScript named .jpg", "script.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n"),
    Sample("web page saved as .jpg", "page.jpg", b"<!DOCTYPE html><html><body>404 Not Found</body></html>"),
    Sample("header of 30,000 x 30,000 pixels", "bomb.png", raw_png(8, 2, 30_000, 30_000, [])),
    Sample("header of 10,000 x 10,000 pixels, no pixels", "large.png", raw_png(8, 2, 10_000, 10_000, [])),
    Sample("header of 0 x 10 pixels", "nothing.png", raw_png(8, 2, 0, 10, [])),
    Sample("16-bit PNG with 12-bit values", "dim.png", png(Image.fromarray(np.uint16([[0, 4095], [300, 17]])))),
    Sample("32-bit integers", "whole.tif", encoded("TIFF", Image.fromarray(np.int32([[0, 9], [70_000, 1]])))),
    Sample("32-bit floating point", "float.tif", encoded("TIFF", Image.fromarray(np.float32([[0, 1], [0.5, 0.2]])))),
    Sample("link that leads nowhere", "link.jpg", lambda path: path.symlink_to("nowhere.jpg")),
    FORBIDDEN,
    Sample("disk that fails", "disk.png", lambda path: path.symlink_to("/proc/self/mem")),
    Sample("truncated, name with a line break", "two\nlines.jpg", half(jpeg(NOISE))),
    Sample("truncated, name that is not UTF-8", "caf\udce9.jpg", half(jpeg(NOISE))),
]
LEFT_OUT = [
    Sample("macOS's `._NAME.jpg`", "._half.jpg", b"\0\5\x16\7"),
    Sample("Windows' `Thumbs.db`", "Thumbs.db", b"\xd0\xcf\x11\xe0"),
    Sample("name with another suffix (.heic, .txt)", "phone.heic", b"\0\0\0\x18ftypheic"),
    Sample("folder named .jpg", "folder.jpg", lambda path: path.mkdir()),
    Sample("FIFO named .jpg", "fifo.jpg", os.mkfifo),
]


GOOD = Sample("good", "good.png", png())
VIEWS = CropAndWhole(24, (0.5, 1.0), 0.0, nn.Identity())
AS_IT_IS = EvaluationProtocol("as it is", "own", False, False, "hungarian", "main", False, 0)


def folder_of(root: Path, samples: Sequence[Sample]) -> Path:
    """A folder for `data=labelled_folder` whose two splits hold a good image and these."""
    classes = [{"id": number, "name": name, "kind": "stuff"} for number, name in enumerate(("earth", "sky"))]
    (root / "classes.json").write_text(json.dumps(classes), encoding="ascii")
    for split in ("train", "val"):
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True)
        for sample in (GOOD, *samples):
            sample.write(root / "images" / split / sample.name)
            height, width = (32, 32) if sample.pixels is None else sample.pixels.shape[:2]
            label = Image.new("L", (width, height))
            label.save((root / "labels" / split / sample.name).with_suffix(".png"))
    return root


def data_of(root: Path, on_corrupt: OnCorrupt, num_workers: int = 0) -> LabelledFolder:
    loading = {"batch_size": 1, "num_workers": num_workers, "seed": 0, "on_corrupt": on_corrupt}
    return LabelledFolder(str(root), ["train"], "val", views=VIEWS, protocol=AS_IT_IS, **loading)
