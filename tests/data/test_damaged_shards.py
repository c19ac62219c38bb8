"""Folders of shards that are damaged, or that a stranger made: one line, and nothing runs."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from src.data.folder import FileImages
from src.data.overlap import shared_files
from src.data.shards import ShardImages, read_shards
from src.images.listing import list_images
from src.images.reading import UnreadableFileError
from tests.data.configured import configured
from tests.refusals import refusal

RUN = ["experiment=demo", "debug=tiny", "trainer.fast_dev_run=false", "trainer.max_epochs=1", "references=none"]


def refused(root: Path, *texts: object) -> None:
    refusal(lambda: read_shards(root), *texts)


def changed(name: str, value: Any) -> Callable[[Path], None]:
    """Replace an array of the second shard's index."""

    def change(root: Path) -> None:
        path = root / "images-000001.index"
        arrays = load_file(path)
        if value is None:
            del arrays[name]
        else:
            arrays[name] = value(arrays[name]) if callable(value) else value
        save_file(arrays, path)

    return change


def summary(text: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        (root / "shards.json").write_text(text)

    return write


def without(name: str) -> Callable[[Path], None]:
    return lambda root: (root / name).unlink()


def cut(name: str) -> Callable[[Path], None]:
    return lambda root: os.truncate(root / name, (root / name).stat().st_size // 2)


def fifo(name: str) -> Callable[[Path], None]:
    def replace(root: Path) -> None:
        (root / name).unlink()
        os.mkfifo(root / name)

    return replace


def outside(name: str) -> Callable[[Path], None]:
    def replace(root: Path) -> None:
        (root / name).rename(root.parent / name)
        (root / name).symlink_to(root.parent / name)

    return replace


def pickled(root: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(root / "executed"),)

    (root / "images-000001.index").write_bytes(pickle.dumps(Malicious()))


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "no summary": (without("shards.json"), "give its command again"),
    "summary is no JSON": (summary("{"), "can't read"),
    "summary is a list": (summary("[1]"), "can't read"),
    "summary nests deeply": (summary("[" * 100_000), "can't read"),
    "summary of another format": (summary('{"format": 9, "images": 7, "shards": 3}'), "has format 9: expected 1"),
    "summary without counts": (summary('{"format": 1, "images": true, "shards": 3}'), "can't read"),
    "summary of no shards": (summary('{"format": 1, "images": 7, "shards": 0}'), "can't read"),
    "summary of more shards": (summary('{"format": 1, "images": 7, "shards": 9999999}'), "images-000003"),
    "summary of fewer shards": (summary('{"format": 1, "images": 7, "shards": 2}'), "hold 6 images: expected 7"),
    "summary that leaves out too few": (
        summary('{"format": 1, "images": 7, "shards": 3, "left_out": [1]}'),
        "images-000003",
    ),
    "summary that leaves out what can't be": (
        summary('{"format": 1, "images": 7, "shards": 3, "left_out": [4]}'),
        "can't read",
    ),
    "summary that leaves out no list": (
        summary('{"format": 1, "images": 7, "shards": 3, "left_out": 1}'),
        "can't read",
    ),
    "missing shard": (without("images-000001.tar"), "images-000001.index and its archive (No such file"),
    "missing index": (without("images-000001.index"), "images-000001.index and its archive (No such file"),
    "half a shard": (cut("images-000001.tar"), "bytes, expected"),
    "half an index": (cut("images-000001.index"), "no index of a shard"),
    "FIFO for a shard": (fifo("images-000001.tar"), "a FIFO or a device"),
    "FIFO for an index": (fifo("images-000001.index"), "a FIFO or a device"),
    "FIFO for the summary": (fifo("shards.json"), "there is no file"),
    "link to another folder": (outside("images-000001.tar"), "a link that leaves its folder"),
    "a pickle for an index": (pickled, "no index of a shard"),
    "index without names": (changed("names", None), "it holds other arrays"),
    "index with further arrays": (changed("code", np.zeros(1)), "it holds other arrays"),
    "index of another type": (changed("offset", lambda a: a.astype(np.float64)), "it holds other arrays"),
    "index with a matrix": (changed("offset", lambda a: a[None]), "it holds other arrays"),
    "index with fewer sizes": (changed("size", lambda a: a[1:]), "differ in length"),
    "empty index": (changed("offset", lambda a: a[:0]), "differ in length"),
    "negative offset": (changed("offset", lambda a: a - 10**6), "outside of it"),
    "offset beyond the end": (changed("offset", lambda a: a + np.int64(2**62)), "outside of it"),
    "negative size": (changed("size", lambda a: -a), "outside of it"),
    "enormous size": (changed("size", lambda a: a + np.int64(2**62)), "outside of it"),
    "names out of order": (changed("ends", lambda a: a[::-1].copy()), "names are damaged"),
    "names beyond the end": (changed("ends", lambda a: a + 5), "names are damaged"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_folder_that_is_not_right_is_refused_in_one_line(kind: str, root: Path) -> None:
    damage, said = FAULTS[kind]
    damage(root)
    refused(root, root, said)
    assert not (root / "executed").exists()


def flip(root: Path, index: int) -> None:
    """Change a byte in the middle of an image."""
    shard = read_shards(root)[index // 3]
    with (root / f"images-{index // 3:06d}.tar").open("r+b") as file:
        file.seek(int(shard.offset[index % 3] + shard.size[index % 3] // 2))
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def test_changed_bytes_are_noticed_when_the_image_is_read(root: Path) -> None:
    flip(root, 4)
    images = ShardImages(read_shards(root))
    with pytest.raises(UnreadableFileError, match="is damaged"):
        images.image(4)
    for index in (0, 1, 2, 3, 5, 6):
        images.image(index)


def test_a_shard_that_is_cut_or_lost_during_a_run(root: Path) -> None:
    images = ShardImages(read_shards(root))
    os.truncate(root / "images-000001.tar", 100)
    with pytest.raises(UnreadableFileError, match="is damaged"):
        images.image(4)
    (root / "images-000002.tar").unlink()
    with pytest.raises(UnreadableFileError, match="No such file or directory"):
        images.image(6)


def test_a_damaged_image_is_skipped_and_named(root: Path) -> None:
    flip(root, 4)
    data = configured("shards", root, "data.on_corrupt=skip", "data.num_workers=0", "data.batch_size=7")
    unreadable = [text for batch in data.train_dataloader() for text in batch["unreadable"] if text]
    assert len(unreadable) == 1
    assert str(root / "images-000001.tar") in unreadable[0]


def test_a_damaged_image_is_not_shared_with_the_scored_ones(root: Path, folder: Path) -> None:
    """The search for shared images does not end the run: `data.on_corrupt` decides when the image is read."""
    shards = read_shards(root)
    with (root / "images-000000.tar").open("r+b") as file:
        file.seek(int(shards[0].offset[1]))
        file.write(b"damage")
    found = shared_files(ShardImages(shards), FileImages(list_images(folder))).tolist()
    assert found == [0, 2, 3, 4, 5, 6]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    refusal(lambda: configured("shards", tmp_path / "absent"), tmp_path / "absent", "shards.json")


def test_the_summary_says_what_is_there(root: Path) -> None:
    assert json.loads((root / "shards.json").read_text()) == {"format": 1, "images": 7, "shards": 3}
