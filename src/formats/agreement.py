"""Whether an exported file gives the same as the checkpoint."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import torch
from torch import Tensor

from src.checkpoints.reading import first_line
from src.errors import DenseSiamError
from src.models.encoder import Encoder

Loaded = TypeVar("Loaded")
TOLERANCE = 1e-5  # of the largest value of an output, or of 1 if all are smaller


def check_same(expected: Sequence[Tensor], found: Sequence[Tensor], what: str) -> None:
    """Refuse outputs that are not those of the checkpoint.

    Args:
        expected, found: the outputs of the checkpoint and of the exported file.
        what: the file and its input, in words for the message.

    Raises:
        DenseSiamError: a shape differs, or a value differs by more than `TOLERANCE`.
    """
    shapes = [[tuple(one.shape) for one in outputs] for outputs in (expected, found)]
    if shapes[0] != shapes[1]:
        raise DenseSiamError(f"{what} gives outputs of {shapes[1]}: expected {shapes[0]}; nothing was written")
    for one, other in zip(expected, found, strict=True):
        difference = float((one - other).abs().max())
        allowed = TOLERANCE * max(1.0, float(one.abs().max()))
        if not difference <= allowed:  # also refuses a difference that is not a number
            raise DenseSiamError(
                f"{what} gives outputs that differ by {difference:.3g}: expected at most {allowed:.3g}; nothing was "
                "written"
            )


def sample_images(size: tuple[int, int], batch: int = 2) -> Tensor:
    """Images (batch, 3, H, W) in [0, 1] to compare with: noise that is the same each time."""
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(0))


def exact_size(encoder: Encoder) -> tuple[int, int]:
    """A height and a width to which the encoder applies no resizing."""
    return encoder.size or (encoder.side(2), encoder.side(3))


def normalised(encoder: Encoder, images: Tensor) -> Tensor:
    """The images as the backbone gets them."""
    return (images - encoder.mean) / encoder.std


@contextmanager
def readable(content: bytes, name: str) -> Iterator[Path]:
    """A file with this content and name in a folder that is removed afterwards, to be read by the target.

    Raises:
        DenseSiamError: the file can't be written.
    """
    try:
        with TemporaryDirectory() as folder:
            path = Path(folder) / name
            with path.open("wb") as file:
                file.write(content)
            yield path
    except OSError as error:
        raise DenseSiamError(f"can't write {name} to check it ({error}): make room in the folder TMPDIR") from error


def loaded(load: Callable[[], Loaded], target: str) -> Loaded:
    """What the target makes of a file.

    Args:
        load: reads the file.
        target: name of the target, for the message.

    Raises:
        DenseSiamError: the target can't read the file.
    """
    try:
        return load()
    except DenseSiamError:
        raise
    except Exception as error:  # each target has its own exceptions
        raise DenseSiamError(
            f"{target} can't load the exported file ({first_line(error)}); nothing was written: choose another format"
        ) from error
