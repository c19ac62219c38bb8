"""A copy of a data set with smaller training images: less to read and to decode, with the same scores."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from src.data.images import UnreadableFileError, open_image, shorter_side_to
from src.data.preparation.downloads import Part
from src.data.preparation.processes import for_each
from src.errors import DenseSiamError

MARK = "resized.json"
FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
JPEG_QUALITY = 95


@dataclass(frozen=True)
class Job:
    """One file to write: the shorter side in pixels, or None for an unchanged copy."""

    source: Path
    target: Path
    side: int | None


def resized_side(root: Path) -> int | None:
    """The shorter side of the training images in a copy, None if the root is no such copy.

    Raises:
        DenseSiamError: the copy's mark can't be read.
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
    """Make a copy's folder and write down what it is.

    Raises:
        DenseSiamError: the folder holds something else, or a copy with another side.
    """
    if target.resolve() == root.resolve():
        raise DenseSiamError(f"the copy of {root} would go to {target}: expected another folder; change --to")
    found = resized_side(target)
    if found is None and target.exists() and any(target.iterdir()):
        raise DenseSiamError(f"{target} is not empty and no resized copy: expected a new folder; change --to")
    if found not in (None, side):
        raise DenseSiamError(f"{target} is a copy with shorter side {found}: expected {side}; change --to or --resize")
    target.mkdir(parents=True, exist_ok=True)
    (target / MARK).write_text(json.dumps({"short_side": side}) + "\n", encoding="utf-8")


def plan(root: Path, parts: Sequence[Part], target: Path, side: int) -> list[Job]:
    """The files of a copy, see `Part.in_copy` and `Part.scored`.

    Raises:
        DenseSiamError: a list of what is scored can't be read.
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
    """Write the files that aren't there yet, each as a whole or not at all.

    Returns:
        What is wrong with the images that can't be read, one line each; they are not in the copy.

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
            f"can't write the copy ({error}): make room or choose another folder; the same command goes on from here"
        ) from error


def write(job: Job) -> str:
    """Write one file; returns what is wrong with an image that can't be read, nothing if all is well.

    An image whose shorter side is no longer than asked for is copied unchanged. Raises OSError.
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
        # Sharper than the bilinear filter of the views, which resize once more.
        small = shorter_side_to(image, job.side, Image.Resampling.LANCZOS)
        small.save(part, FORMATS[job.target.suffix.lower()], quality=JPEG_QUALITY)
    os.replace(part, job.target)
    return ""
