"""A FIFO, a socket, a device or a folder among the files of a data set: never waited for, never an image."""

import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from src.data.cityscapes import CityscapesImages
from src.data.classes import read_classes
from src.data.coco_stuff import CocoImages
from src.data.labelled_folder import FolderImages, images_in
from src.data.potsdam import PotsdamImages, read_mat
from src.data.preparation.archives import unpack
from src.data.preparation.downloads import Part
from src.errors import DenseSiamError
from src.images.listing import list_images, listed_images, read_list
from src.images.reading import UnreadableFileError, open_image, open_label
from src.regular import files_in, open_regular
from tests.data.trees import cityscapes_tree, potsdam_tree
from tests.factories import labelled_data as data_of
from tests.refusals import refusal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kinds of files of Linux")


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """A test that waits for a FIFO fails after some seconds."""

    def give_up(number: int, frame: FrameType | None) -> None:
        pytest.fail("waits for a file")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def bound_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")  # which has no end


def folder(path: Path) -> None:
    path.mkdir()


def link_to_a_fifo(path: Path) -> None:
    os.mkfifo(path.with_suffix(".fifo"))
    path.symlink_to(path.with_suffix(".fifo").name)


KINDS = [fifo, bound_socket, device, folder, link_to_a_fifo]
READERS: list[Callable[[Path], Any]] = [open_image, open_label, lambda path: read_mat(path, "img")]


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_to_open_one_is_an_unreadable_file(
    reader: Callable[[Path], Any], make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "image.png")
    with pytest.raises(UnreadableFileError, match=r"can't read .*image\.png"):
        reader(tmp_path / "image.png")


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("reader", [read_list, read_classes])
def test_texts_are_regular_files(reader: Callable[[Path], Any], make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "text")
    refusal(lambda: reader(tmp_path / "text"), "can't read", tmp_path / "text", "expected")


@pytest.mark.parametrize("name", ["data.zip", "data.tar"])
def test_archives_are_regular_files(name: str, tmp_path: Path) -> None:
    fifo(tmp_path / name)
    refusal(lambda: unpack(tmp_path / name, tmp_path / "target"), f"can't open {tmp_path / name}")


def test_what_is_refused_is_closed(tmp_path: Path) -> None:
    fifo(tmp_path / "fifo")
    before = os.listdir("/proc/self/fd")
    for path in (tmp_path / "fifo", tmp_path):
        with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
            open_regular(path)
    assert os.listdir("/proc/self/fd") == before


def test_a_folders_files(tmp_path: Path) -> None:
    for name in ("b.png", "A.png", ".hidden.png", "no suffix"):
        (tmp_path / name).touch()
    for make in KINDS:
        make(tmp_path / f"{make.__name__}.png")
    (tmp_path / "link.png").symlink_to("b.png")
    (tmp_path / "nowhere.png").symlink_to("gone.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert files_in(tmp_path) == ["A.png", "b.png", "link.png", "loop.png", "no suffix", "nowhere.png"]
    assert files_in(tmp_path / "absent") == files_in(tmp_path / "b.png") == []


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("labelled", [False, True])
def test_a_labelled_folder_leaves_it_out(make: Callable[[Path], None], labelled: bool, labelled_root: Path) -> None:
    make(labelled_root / "images" / "val" / "other.png")
    images = FolderImages(labelled_root, ["val"], labelled)
    assert [path.name for path in images.paths] == ["scene6.png", "scene7.png", "scene8.jpg"]
    assert len(images_in(labelled_root / "images" / "val")) == 3


@pytest.mark.parametrize("make", KINDS)
def test_coco_leaves_it_out(make: Callable[[Path], None], coco_root: Path, tmp_path: Path) -> None:
    root = shutil.copytree(coco_root, tmp_path / "coco")
    make(root / "val2017" / "000000000001.jpg")
    assert len(CocoImages(root, "val", "all", 27, labelled=True)) == 8
    (root / "val.txt").write_text("1\n")
    refusal(lambda: CocoImages(root, "val", str(root / "val.txt"), 27, labelled=True), "there are none")


@pytest.mark.parametrize("make", KINDS)
def test_cityscapes_leaves_it_out(make: Callable[[Path], None], tmp_path: Path) -> None:
    root = cityscapes_tree(tmp_path / "cityscapes")
    make(root / "leftImg8bit" / "val" / "lindau" / "lindau_9_leftImg8bit.png")
    make(root / "leftImg8bit" / "val" / "city")
    assert len(CityscapesImages(root, ["val"], 19, labelled=True)) == 5


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("name", ["imgs/10.mat", "gt/10.mat", "labelled_test.txt"])
def test_potsdam_refuses_it(name: str, make: Callable[[Path], None], tmp_path: Path) -> None:
    root = potsdam_tree(tmp_path / "potsdam")
    (root / name).unlink()
    make(root / name)
    refusal(lambda: PotsdamImages(root, ["labelled_test"], labelled=True), "are missing", root / name)


@pytest.mark.parametrize("make", KINDS)
def test_labels_are_regular_files(make: Callable[[Path], None], labelled_root: Path) -> None:
    path = labelled_root / "labels" / "val" / "scene7.png"
    path.unlink()
    make(path)
    refusal(lambda: FolderImages(labelled_root, ["val"], labelled=True), "1 of 3 label files are missing", path)


@pytest.mark.filterwarnings("ignore:.*lacks 1 of the 2 listed files")
@pytest.mark.parametrize("make", KINDS)
def test_folders_and_lists_leave_it_out(make: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    make(tmp_path / "b.png")
    for files in (list_images(tmp_path), listed_images(tmp_path, ["a.png", "b.png"])):
        assert [files[index].name for index in range(len(files))] == ["a.png"]


@pytest.mark.parametrize("make", KINDS)
def test_a_preparation_leaves_it_out(make: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    make(tmp_path / "b.jpg")
    part = Part(folder=".", pattern="*.jpg", count=2, archives=(), kind="images", in_copy="resized")
    assert [path.name for path in part.files(tmp_path)] == ["a.jpg"]


@pytest.mark.parametrize("on_corrupt", ["raise", "skip"])
def test_a_fifo_that_takes_a_files_place_is_not_waited_for(on_corrupt: str, labelled_root: Path) -> None:
    data = data_of(labelled_root, on_corrupt=on_corrupt)
    path = labelled_root / "images" / "val" / "scene6.png"
    path.unlink()
    fifo(path)
    if on_corrupt == "raise":
        with pytest.raises(DenseSiamError, match=r"scene6\.png .*not a regular file"):
            list(data.val_dataloader())
    else:
        said = [fault for batch in data.val_dataloader() for fault in batch["unreadable"]]
        assert [bool(fault) for fault in said] == [True, False, False]
