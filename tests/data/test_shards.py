"""Images in shards: the same as in a folder, in the same order."""

import json
import os
import pickle
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from src.assembly.train import train
from src.data.folder import FileImages
from src.data.overlap import shared_files
from src.data.shards import KEPT_OPEN, OpenFiles, ShardImages, read_shards
from src.images.listing import list_images
from tests.composing import composed
from tests.data.configured import configured
from tests.data.sharded import packed, tree
from tests.factories import noise_image
from tests.resuming import IMAGES, failing, run

RUN = ["experiment=demo", "debug=tiny", "trainer.fast_dev_run=false", "trainer.max_epochs=1", "references=none"]


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
