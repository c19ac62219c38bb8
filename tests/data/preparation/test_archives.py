"""Unpacking: what is refused, what is left behind, what is taken up again."""

import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from src.data.preparation.archives import Unpacked, unpack
from tests.data.preparation.packing import FILES, content, make
from tests.refusals import refusal


@pytest.mark.parametrize("name", ["data.zip", "data.tar", "data.tar.gz"])
def test_files_arrive_and_are_not_written_twice(name: str, tmp_path: Path) -> None:
    archive, target = make(tmp_path / name, FILES), tmp_path / "new" / "target"
    assert unpack(archive, target) == Unpacked(written=4, skipped=0)
    assert content(target) == FILES
    (target / "c.png").write_bytes(b"other" * 50)  # of the same size: taken for unpacked
    (target / "VOC/a.jpg").write_bytes(b"half")
    assert unpack(archive, target) == Unpacked(written=1, skipped=3)
    assert content(target) == FILES | {"c.png": b"other" * 50}


@pytest.mark.parametrize(
    "name", ["../evil", "VOC/../../evil", "/evil", "C:/evil", "C:evil", "..\\evil", "\\\\host\\share\\evil"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_nothing_is_written_if_a_path_leaves_the_target(kind: str, name: str, tmp_path: Path) -> None:
    archive, target = make(tmp_path / f"data.{kind}", FILES | {name: b"evil"}), tmp_path / "deep" / "target"
    refusal(
        lambda: unpack(archive, target), archive, repr(name), "outside the target folder", "expected paths below it"
    )
    assert content(tmp_path) == {archive.name: archive.read_bytes()}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, tmp_path: Path) -> None:
    archive = tmp_path / "data.tar"
    with tarfile.open(archive, "w") as file:
        member = tarfile.TarInfo("VOC")
        member.type, member.linkname = kind, "/etc"
        file.addfile(member)
    refusal(lambda: unpack(archive, tmp_path / "target"), archive, "'VOC'", "is a link or device")
    assert not (tmp_path / "target").exists()


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "data.zip"
    with zipfile.ZipFile(archive, "w") as file:
        link = zipfile.ZipInfo("VOC")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc")
    refusal(lambda: unpack(archive, tmp_path / "target"), archive, "'VOC'", "is a link or device")


def test_too_little_space_is_said_beforehand_with_both_numbers(tmp_path: Path) -> None:
    archive, target = make(tmp_path / "data.zip", FILES), tmp_path / "target"  # of 500 + 6 + 0 + 250 bytes
    refusal(lambda: unpack(archive, target, free=lambda folder: 755), "756 bytes", "755 bytes", archive, target)
    assert content(target) == {}
    assert unpack(archive, target, free=lambda folder: 756).written == 4
    (target / "VOC/a.jpg").unlink()
    assert unpack(archive, target, free=lambda folder: 500).written == 1  # what is there already needs no space


@pytest.mark.parametrize("name", ["data.zip", "data.tar", "data.tar.gz"])
def test_a_truncated_archive_is_named(name: str, tmp_path: Path) -> None:
    archive = make(tmp_path / name, FILES)
    archive.write_bytes(archive.read_bytes()[: 150 if name.endswith("gz") else 700])
    size = archive.stat().st_size
    refusal(lambda: unpack(archive, tmp_path / "target"), archive, f"{size} bytes", "download it again")


@pytest.mark.parametrize("cause", [b"no archive", b""])
@pytest.mark.parametrize("name", ["data.zip", "data.tar"])
def test_other_files_and_missing_ones_are_refused(name: str, cause: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(cause)
    refusal(lambda: unpack(tmp_path / name, tmp_path), f"can't open {tmp_path / name}, {len(cause)} bytes")
    refusal(lambda: unpack(tmp_path / "no" / name, tmp_path), f"can't open {tmp_path / 'no' / name} ")


def test_a_damaged_entry_stops_without_a_half_file_and_is_taken_up_again(tmp_path: Path) -> None:
    archive, target = make(tmp_path / "data.zip", FILES), tmp_path / "target"
    good = archive.read_bytes()
    assert good.count(b"second") == 1  # stored, not compressed
    archive.write_bytes(good.replace(b"second", b"seconD"))
    refusal(lambda: unpack(archive, target), archive, "VOC/lists/b.txt", "CRC", "download it again")
    assert content(target) == {"VOC/a.jpg": FILES["VOC/a.jpg"]}
    archive.write_bytes(good)
    assert unpack(archive, target) == Unpacked(written=3, skipped=1)
    assert content(target) == FILES


def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    archive, target = make(tmp_path / "data.tar", FILES), tmp_path / "target"
    (target / "VOC").mkdir(parents=True)
    (target / "VOC" / "a.jpg.part").write_bytes(b"firstfir")
    assert unpack(archive, target) == Unpacked(written=4, skipped=0)
    assert content(target) == FILES


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    archive, target = make(tmp_path / "data.zip", FILES), tmp_path / "target"
    target.mkdir()
    (target / "VOC").write_bytes(b"a file")
    refusal(lambda: unpack(archive, target), "can't unpack VOC/a.jpg", archive, target / "VOC" / "a.jpg")
    assert content(target) == {"VOC": b"a file"}


def test_a_damaged_header_is_not_taken_for_the_end_of_a_tar(tmp_path: Path) -> None:
    archive = make(tmp_path / "data.tar", FILES)
    packed = archive.read_bytes()
    archive.write_bytes(packed.replace(b"VOC/lists/b.txt", b"VOC/lists/B.txt"))  # which the header's checksum denies
    refusal(lambda: unpack(archive, tmp_path / "target"), archive, "what follows VOC/a.jpg is no entry")
    assert not (tmp_path / "target").exists()


def test_a_compressed_tar_is_checked_to_its_end(tmp_path: Path) -> None:
    archive = make(tmp_path / "data.tar.gz", FILES)
    packed = bytearray(archive.read_bytes())
    packed[-8] ^= 1  # of gzip's checksum
    archive.write_bytes(packed)
    refusal(lambda: unpack(archive, tmp_path / "target"), archive, "CRC")
    assert not (tmp_path / "target").exists()
