"""Writes images into shards, see `src.data.shards`. A shard is written completely or not at all.

A shard of which no image can be read is left out; the summary says so, and the other shards keep their numbers.
"""

import hashlib
import json
import os
import tarfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from src.data.preparation.processes import for_each
from src.data.shards import FORMAT, LARGEST, SUMMARY, index_path, read_shard, tar_path
from src.disk import write_whole
from src.errors import DenseSiamError
from src.images.file_list import FileList
from src.images.reading import UnreadableFileError, open_image
from src.regular import open_regular, read_text

UNFINISHED = "making.json"  # there until every shard is written


@dataclass(frozen=True)
class Job:
    """One shard to write.

    Args:
        source: folder of the images.
        names: paths of the images of this shard, relative to `source`.
        target: folder of the shards.
        number: number of the shard.
        skip: whether images that can't be read are left out; otherwise no shard is written that should hold them.

    A shard that was written with `skip` and lacks images is complete for a job with `skip` only.
    """

    source: Path
    names: tuple[str, ...]
    target: Path
    number: int
    skip: bool


@dataclass(frozen=True)
class Made:
    """The result of `make_shards`: numbers of images, shards and bytes, and a message for each image that is left out,
    also for those that an interrupted call left out."""

    images: int
    shards: int
    size: int
    faults: tuple[str, ...]


def make_shards(files: FileList, target: Path, per_shard: int, skip: bool, workers: int) -> Made:
    """Write images into shards, in their order; shards that an interrupted call has written are kept.

    Args:
        files: the images.
        target: folder of the shards, new or from an interrupted call with the same images.
        per_shard: number of images of each shard but the last.
        skip: whether images that can't be read are left out; otherwise the shards stay unfinished because of them.
        workers: number of processes.

    Raises:
        DenseSiamError: the folder holds something else, no image can be read, or the disk is full.
    """
    names = [os.path.relpath(files[index], files.root) for index in range(len(files))]
    _claim(target, names, per_shard)
    parts = [tuple(names[start : start + per_shard]) for start in range(0, len(names), per_shard)]
    jobs = [Job(files.root, part, target, number, skip) for number, part in enumerate(parts)]
    before = {job.number: lacking(job) for job in jobs if index_path(target, job.number).is_file()}
    kept = {number: faults for number, faults in before.items() if skip or not faults}
    waiting = [job for job in jobs if job.number not in kept]
    try:
        found = for_each(write_shard, waiting, workers, "writing shards", few=2, chunk=1)
        faults = tuple(fault for each in (*kept.values(), *found) for fault in each)
        if faults and not skip:
            return Made(0, len(jobs), 0, faults)
        written = [job.number for job in jobs if index_path(target, job.number).is_file()]
        if not written:
            raise DenseSiamError(f"none of {len(names)} images can be read, {faults[0]}: check the disk")
        images = sum(len(read_shard(target, number).names) for number in written)
        left_out = sorted({job.number for job in jobs} - set(written))
        summary: dict[str, object] = {"format": FORMAT, "images": images, "shards": len(written)}
        summary |= {"left_out": left_out} if left_out else {}
        write_whole(target / SUMMARY, lambda file: file.write(json.dumps(summary).encode()))
        (target / UNFINISHED).unlink()
    except OSError as error:
        raise DenseSiamError(
            f"can't write the shards ({error}): make room or choose another folder; the same command continues"
        ) from error
    size = sum(tar_path(target, number).stat().st_size for number in written)
    return Made(images, len(written), size, faults)


def lacking(job: Job) -> list[str]:
    """A message for each image that a written shard lacks, because it could not be read then."""
    names = read_shard(job.target, job.number).names
    there = {os.path.relpath(names[index], names.root) for index in range(len(names))}
    return [f"{job.source / name} could not be read before" for name in job.names if name not in there]


def _claim(target: Path, names: list[str], per_shard: int) -> None:
    """Mark the folder as unfinished, unless it is marked for the same images already.

    Raises:
        DenseSiamError: the folder holds finished shards, unfinished ones of other images, or other files.
    """
    digest = hashlib.sha256(json.dumps([per_shard, *names]).encode()).hexdigest()
    mark = target / UNFINISHED
    if (target / SUMMARY).exists():
        raise DenseSiamError(f"{target} holds finished shards: expected a new folder; use them, or choose another one")
    if mark.is_file():
        if read_text(mark) != digest:
            raise DenseSiamError(
                f"{target} holds unfinished shards of other images, or with another number of images each: expected "
                "the same ones; delete that folder or choose another one"
            )
        return
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DenseSiamError(f"{target} is not empty: expected a new folder for the shards; choose another one")
    write_whole(mark, lambda file: file.write(digest.encode()))


def write_shard(job: Job) -> list[str]:
    """Write one shard and then its index.

    Returns:
        A message for each image that can't be read. Nothing is written if there are some and `job.skip` is false, or
        if no image can be read.

    Raises:
        OSError: the shard can't be written.
    """
    faults = list[str]()
    index: dict[str, list[int]] = {"offset": [], "size": [], "crc": [], "ends": []}
    names = bytearray()

    def write(file: BinaryIO) -> None:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for name in job.names:
                try:
                    content = readable(job.source / name)
                except UnreadableFileError as error:
                    faults.append(str(error))
                    continue
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, BytesIO(content))
                names.extend(os.fsencode(name))
                index["offset"].append(archive.offset + -len(content) // tarfile.BLOCKSIZE * tarfile.BLOCKSIZE)
                index["size"].append(len(content))
                index["crc"].append(zlib.crc32(content))
                index["ends"].append(len(names))
        if faults and not (job.skip and names):
            raise _UnreadableError

    path = tar_path(job.target, job.number)
    index_path(job.target, job.number).unlink(missing_ok=True)  # it would not fit the new archive
    try:
        write_whole(path, write)
    except _UnreadableError:
        return faults
    arrays: dict[str, NDArray[Any]] = {
        "offset": np.array(index["offset"], np.int64),
        "size": np.array(index["size"], np.int64),
        "crc": np.array(index["crc"], np.uint32),
        "ends": np.array(index["ends"], np.int64),
        "names": np.frombuffer(bytes(names), np.uint8),
        "tar": np.array([path.stat().st_size], np.int64),
    }
    write_whole(index_path(job.target, job.number), lambda file: file.write(save(arrays)))
    return faults


class _UnreadableError(Exception):
    """A shard is not written because some of its images can't be read."""


def readable(path: Path) -> bytes:
    """The bytes of an image file that can be decoded.

    Raises:
        UnreadableFileError: it can't be decoded, or is larger than a shard allows.
    """
    try:
        with open_regular(path) as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise UnreadableFileError(
            f"can't read the image {path} ({error.strerror}): replace or remove the file"
        ) from error
    if len(content) > LARGEST:
        raise UnreadableFileError(f"the image {path} has more than {LARGEST} bytes: expected fewer; remove the file")
    open_image(path, content=content)
    return content
