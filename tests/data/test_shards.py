"""Images in shards: the same as in a folder, in the same order, and nothing else is accepted."""

import json
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

from src.assembly.train import train
from src.data.folder import FileImages
from src.data.overlap import shared_files
from src.data.preparation.sharding import make_shards
from src.data.shards import KEPT_OPEN, OpenFiles, ShardImages, read_shards
from src.images.listing import list_images
from src.images.reading import UnreadableFileError
from tests.composing import composed
from tests.data.configured import configured
from tests.factories import noise_image
from tests.refusals import refusal
from tests.resuming import IMAGES, failing, run

RUN = ["experiment=demo", "debug=tiny", "trainer.fast_dev_run=false", "trainer.max_epochs=1", "references=none"]


def tree(root: Path, count: int = 7, side: int = 24) -> Path:
    """JPEG and PNG images at several depths."""
    for number in range(count):
        path = root / ("", "a", "b/c")[number % 3] / f"image{number:02d}.{'png' if number == 4 else 'JPEG'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise_image(side, side, seed=number).save(path)
    return root


def packed(folder: Path, root: Path, per_shard: int = 3) -> Path:
    make_shards(list_images(folder), root, per_shard, skip=False, workers=1)
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tree(tmp_path / "images")


@pytest.fixture
def root(folder: Path, tmp_path: Path) -> Path:
    """Seven images in three shards."""
    return packed(folder, tmp_path / "shards")


def test_bytes_names_and_order_are_those_of_the_folder(folder: Path, root: Path) -> None:
    shards, files = ShardImages(read_shards(root)), FileImages(list_images(folder))
    assert len(shards) == len(files) == 7
    for index in (3, 0, 6, 2, 5, 1, 4):
        path = files.files[index]
        assert shards.content(index) == path.read_bytes()
        assert shards.content_size(index) == path.stat().st_size
        assert shards.image_name(index) == str(root / f"images-{index // 3:06d}.tar" / path.relative_to(folder))
        assert np.array_equal(np.asarray(shards.image(index)), np.asarray(files.image(index)))
    with pytest.raises(IndexError, match="image 7 of 7"):
        shards.image(7)


def test_every_tool_for_tar_reads_a_shard(folder: Path, root: Path) -> None:
    with tarfile.open(root / "images-000000.tar") as archive:
        members = archive.getmembers()
        for member in members:
            content = archive.extractfile(member)
            assert content is not None
            assert content.read() == (folder / member.name).read_bytes()
    assert len(members) == 3


def test_a_name_that_is_not_utf_8_or_long_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in (os.fsdecode(b"caf\xe9.png"), "two\nlines.png", f"{'long' * 40}.png"):
        noise_image(9, 9).save(folder / name)
    shards = ShardImages(read_shards(packed(folder, tmp_path / "shards")))
    assert {os.path.basename(shards.image_name(index)) for index in range(3)} == set(os.listdir(folder))


def test_training_on_shards_is_a_value(root: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    train(composed(output, *RUN, "data=shards", f"data.root={root}", "data.num_workers=0"))
    assert json.loads((output / "scores.json").read_text())["cost"]["steps"] == 1


def test_loader_processes_read_the_same_as_the_main_process(root: Path) -> None:
    def batches(workers: int) -> list[Any]:
        data = configured("shards", root, f"data.num_workers={workers}", "data.batch_size=2")
        data.train.image(0)  # opens a file before the processes are forked
        loader = data.train_dataloader()
        loader.sampler.set_epoch(1)
        return [(batch["index"].tolist(), [view.sum().item() for view in batch["views"]]) for batch in loader]

    expected = batches(0)
    assert len(expected) == 3
    assert batches(2) == expected


def test_runs_over_folder_and_shards_are_equal_and_resume_exactly(tmp_path: Path) -> None:
    folder = tree(tmp_path / "images", count=IMAGES, side=20)
    root = packed(folder, tmp_path / "shards", per_shard=5)

    def images() -> ShardImages:
        return ShardImages(read_shards(root))

    whole = run(tmp_path / "whole", train=FileImages(list_images(folder)))
    stopped = run(tmp_path / "run", failing(9, RuntimeError("power cut")), every_n_steps=2, train=images())
    rest = run(tmp_path / "rest", ckpt_path=tmp_path / "run" / "last.ckpt", train=images())
    assert isinstance(stopped.ended_by, RuntimeError)
    assert stopped.batches == whole.batches[:9]
    assert [row for row in stopped.rows if row[1] == "loss"] == [row for row in whole.rows if row[1] == "loss"][:4]
    assert rest.batches == whole.batches[8:]
    for name, value in whole.state["module"].items():
        assert value.equal(rest.state["module"][name]), name


def test_files_are_closed_when_too_many_are_open_and_do_not_travel(tmp_path: Path) -> None:
    files = OpenFiles()
    for number in range(KEPT_OPEN + 3):
        path = tmp_path / str(number)
        path.write_bytes(b"abcdef")
        assert files.read(path, 2, 3) == b"cde"
    assert len(files.files) == KEPT_OPEN
    assert files.read(tmp_path / "0", 5, 9) == b"f"
    assert not pickle.loads(pickle.dumps(files)).files


def test_two_processes_share_the_images_of_one(root: Path) -> None:
    def shares(processes: int) -> list[list[Any]]:
        found = []
        for rank in range(processes):
            data = configured("shards", root, "data.num_workers=0", "data.batch_size=2")
            data.trainer = cast(Any, SimpleNamespace(global_rank=rank, world_size=processes, training=False))
            batches = list(data.train_dataloader())
            found.append([(batch["index"], batch["views"][0]) for batch in batches])
        return found

    (alone,), (first, second) = shares(1), shares(2)
    assert len(alone) == len(first) == len(second) == 3
    for whole, one, other in zip(alone, first, second, strict=True):
        for mine, half, rest in zip(whole, one, other, strict=True):
            assert mine.equal(torch.cat([half, rest]))


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


def test_an_image_that_is_scored_too_is_found_by_its_bytes(folder: Path, root: Path, tmp_path: Path) -> None:
    files = list_images(folder)
    others = tmp_path / "others"
    others.mkdir()
    (others / files[1].name).write_bytes(files[1].read_bytes())  # the same
    changed = bytearray(files[2].read_bytes())
    changed[-3] ^= 1
    (others / files[2].name).write_bytes(changed)  # as many bytes
    Image.new("RGB", (8, 8)).save(others / files[4].name)  # another image
    assert shared_files(ShardImages(read_shards(root)), FileImages(list_images(others))).tolist() == [1]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    refusal(lambda: configured("shards", tmp_path / "absent"), tmp_path / "absent", "shards.json")


def test_the_summary_says_what_is_there(root: Path) -> None:
    assert json.loads((root / "shards.json").read_text()) == {"format": 1, "images": 7, "shards": 3}
