"""Generated scenes on disk, so that a second run does not draw them again."""

import os
import uuid
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from src.data import scenes, textures
from src.data.scenes import render

Pixels = NDArray[np.uint8]


def drawn_scenes(seed: int, count: int, size: int, cache: Path | None) -> tuple[Pixels, Pixels]:
    """The first scenes of a seed, from the cache or drawn; the pixels are the same.

    Args:
        seed: of the generator, see `src.data.scenes.render`.
        count: number of scenes.
        size: side of a scene in pixels.
        cache: folder that keeps them; None for none. A file that can't be read is drawn and written anew, and a folder
            that can't be written keeps nothing.

    Returns:
        images (count, size, size, 3) and labels (count, size, size), both uint8.
    """
    path = None if cache is None else cache / f"scenes_{key_of(seed, count, size)}.npz"
    kept = None if path is None else read(path, count, size)
    if kept is not None:
        return kept
    pairs = [render(seed, index, size) for index in range(count)]
    images, labels = (np.stack(part) for part in zip(*pairs, strict=True))
    if path is not None:
        write(path, images, labels)
    return images, labels


def cache_folder() -> Path:
    """The user's cache folder, by the XDG Base Directory Specification. No config names it: a checkpoint could."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "densesiam"


def key_of(seed: int, count: int, size: int) -> str:
    """A name for what the pixels follow from: the code that draws, the version of NumPy, and the arguments."""
    code = b"".join(Path(str(module.__file__)).read_bytes() for module in (scenes, textures))
    return sha256(code + f"{np.__version__} {seed} {count} {size}".encode()).hexdigest()[:24]


def read(path: Path, count: int, size: int) -> tuple[Pixels, Pixels] | None:
    """Images and labels of a file; None if it is missing, damaged (zip files hold checksums) or of another shape."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays["labels"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    right = images.shape == (count, size, size, 3) and labels.shape == (count, size, size)
    return (images, labels) if right and images.dtype == labels.dtype == np.uint8 else None


def write(path: Path, images: Pixels, labels: Pixels) -> None:
    """Write a file under its name once it is whole, since several runs may do so at once; not at all if that fails."""
    part = path.with_name(f".{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.savez(file, images=images, labels=labels)
        os.replace(part, path)
    except OSError:
        with suppress(OSError):
            part.unlink()
