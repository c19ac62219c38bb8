"""A copy of a data set with smaller training images: faster to read and decode, with the same images to score."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from src.data.preparation.downloads import Part
from src.data.preparation.processes import for_each
from src.errors import DenseSiamError
from src.images.reading import UnreadableFileError, open_image
from src.images.resizing import shorter_side_to

MARK = "resized.json"
FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
JPEG_QUALITY = 95


@dataclass(frozen=True)
class Job:
    """One file to write.

    Args:
        source: the original.
        target: the file to write.
        side: shorter side in pixels; None for an unchanged copy.
    """

    source: Path
    target: Path
    side: int | None


def resized_side(root: Path) -> int | None:
    """The shorter side of the training images in a copy, in pixels; None if the root is not such a copy.

    Raises:
        DenseSiamError: the file `resized.json`, which marks a copy, can't be read.
    """
    mark = root / MARK
    if not mark.is_file():
        return None
    try:
        return int(json.loads(mark.read_text(encoding="utf-8"))["short_side"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise DenseSiamError(
            f'can\'t read {mark} ({error}): expected {{"short_side": 320}}; make the copy anew'
        ) from error


def mark_copy(root: Path, target: Path, side: int) -> None:
    """Make the folder of a copy, with a file `resized.json` that marks it as a copy.

    Raises:
        DenseSiamError: the folder holds other files, or a copy with another side.
    """
    if target.resolve() == root.resolve():
        raise DenseSiamError(f"the copy of {root} would go to {target}: expected another folder; change --to")
    found = resized_side(target)
    if found is None and target.exists() and any(target.iterdir()):
        raise DenseSiamError(f"{target} is not empty and not a resized copy: expected a new folder; change --to")
    if found not in (None, side):
        raise DenseSiamError(f"{target} is a copy with shorter side {found}: expected {side}; change --to or --resize")
    target.mkdir(parents=True, exist_ok=True)
    (target / MARK).write_text(json.dumps({"short_side": side}) + "\n", encoding="utf-8")


def plan(root: Path, parts: Sequence[Part], target: Path, side: int) -> list[Job]:
    """The files that a copy consists of, see `Part.in_copy` and `Part.scored`.

    Raises:
        DenseSiamError: a list of the images to score can't be read.
    """
    return [job for part in parts for job in _jobs(root, part, target, side)]


def _jobs(root: Path, part: Part, target: Path, side: int) -> list[Job]:
    files = part.files(root)
    scored = set(part.scored.read(root)) if part.scored and files else set()
    jobs = []
    for path in files:
        copied = target / path.relative_to(root)
        if part.in_copy == "unchanged" or part.id_of(path, root) in scored:
            jobs.append(Job(path, copied, None))
        elif part.in_copy == "resized":
            jobs.append(Job(path, copied, side))
    return jobs


def carry_out(jobs: Sequence[Job], workers: int) -> list[str]:
    """Write the files that don't exist yet, each of them completely or not at all.

    Returns:
        One error message for each image that can't be read; these images are not in the copy.

    Raises:
        DenseSiamError: a file can't be written.
    """
    for folder in {job.target.parent for job in jobs}:
        folder.mkdir(parents=True, exist_ok=True)
    waiting = [job for job in jobs if not job.target.is_file()]
    try:
        return [fault for fault in for_each(write, waiting, workers, "copying") if fault]
    except OSError as error:
        raise DenseSiamError(
            f"can't write the copy ({error}): make room or choose another folder; the same command continues the copy"
        ) from error


def write(job: Job) -> str:
    """Write one file. An image whose shorter side is not longer than `job.side` is copied unchanged.

    Returns:
        The error message if the image can't be read, otherwise "".

    Raises:
        OSError: the file can't be written.
    """
    part = job.target.with_name(f"{job.target.name}.part")
    image = None
    if job.side is not None:
        try:
            image = open_image(job.source)
        except UnreadableFileError as error:
            return str(error)
    if job.side is None or image is None or min(image.size) <= job.side:
        shutil.copyfile(job.source, part)
    else:
        # The views resize the copy again, so a sharper filter than their bilinear one is used here.
        small = shorter_side_to(image, job.side, Image.Resampling.LANCZOS)
        small.save(part, FORMATS[job.target.suffix.lower()], quality=JPEG_QUALITY)
    os.replace(part, job.target)
    return ""
