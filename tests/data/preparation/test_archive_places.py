"""Where an archive's files would arrive: never through a link, never two at one place."""

import tarfile
import zipfile
from pathlib import Path

import pytest

from src.data.preparation.archives import Unpacked, unpack
from tests.data.preparation.packing import FILES, content, make
from tests.refusals import refusal


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the target, which nobody may write to."""
    folder = tmp_path / "outside"
    (folder / "lists").mkdir(parents=True)
    (folder / "kept.txt").write_bytes(b"kept")
    return folder


@pytest.mark.parametrize("name", ["data.zip", "data.tar", "data.tar.gz"])
@pytest.mark.parametrize("place", ["VOC", "VOC/lists", "VOC/a.jpg", "c.png"])
def test_nothing_is_written_through_a_link(place: str, name: str, outside: Path, tmp_path: Path) -> None:
    archive, target = make(tmp_path / name, FILES), tmp_path / "target"
    (target / place).parent.mkdir(parents=True)
    leads_to = outside / "kept.txt" if "." in place else outside
    (target / place).symlink_to(leads_to)
    refusal(lambda: unpack(archive, target), f"{target / place} is a link", archive, "remove the link")
    assert content(outside) == {"kept.txt": b"kept"}
    assert [path for path in target.rglob("*") if path.is_file() and not path.is_symlink()] == []


def test_a_link_that_leads_nowhere_is_refused_too(tmp_path: Path) -> None:
    archive, target = make(tmp_path / "data.zip", FILES), tmp_path / "target"
    target.mkdir()
    (target / "VOC").symlink_to(tmp_path / "made")
    refusal(lambda: unpack(archive, target), f"{target / 'VOC'} is a link")
    assert not (tmp_path / "made").exists()


def test_a_link_under_the_name_of_a_half_file_is_not_followed(outside: Path, tmp_path: Path) -> None:
    archive, target = make(tmp_path / "data.zip", FILES), tmp_path / "target"
    target.mkdir()
    (target / "c.png.part").symlink_to(outside / "kept.txt")
    assert unpack(archive, target) == Unpacked(written=4, skipped=0)
    assert content(target) == FILES
    assert content(outside) == {"kept.txt": b"kept"}


def test_links_elsewhere_in_the_target_and_the_target_itself_may_be_one(outside: Path, tmp_path: Path) -> None:
    archive, target = make(tmp_path / "data.zip", FILES), tmp_path / "target"
    (outside / "other").symlink_to(tmp_path)
    target.symlink_to(outside)
    assert unpack(archive, target) == Unpacked(written=4, skipped=0)
    assert (outside / "VOC" / "a.jpg").read_bytes() == FILES["VOC/a.jpg"]


def test_a_target_that_can_not_be_made(tmp_path: Path) -> None:
    archive = make(tmp_path / "data.zip", FILES)
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone" / "deep")
    (tmp_path / "file").touch()
    for target in (tmp_path / "nowhere", tmp_path / "file", tmp_path / "file" / "below"):
        refusal(lambda target=target: unpack(archive, target), f"can't make the folder {target}")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("c.png", "it holds 2 times"),
        ("./c.png", "it holds 2 times"),
        ("VOC//a.jpg", "it holds 2 times"),
        ("VOC", "in the way"),
        ("c.png/d.jpg", "in the way"),
        ("c.png.part", "in the way"),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")  # Python's, while the archive is made
def test_entries_in_each_others_way_are_refused(kind: str, name: str, found: str, tmp_path: Path) -> None:
    archive, target = make(tmp_path / f"data.{kind}", FILES), tmp_path / "target"
    if kind == "zip":
        with zipfile.ZipFile(archive, "a") as file:
            file.writestr(name, b"other")
    else:
        with tarfile.open(archive, "a") as file:
            file.addfile(tarfile.TarInfo(name))
    refusal(lambda: unpack(archive, target), archive, found, "expected each", "get the archive from its authors")
    assert not target.exists()


def test_names_that_are_none(tmp_path: Path) -> None:
    archive = tmp_path / "nul.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as file:
        member = tarfile.TarInfo("a")
        member.pax_headers = {"path": "a\0b"}
        file.addfile(member)
    refusal(lambda: unpack(archive, tmp_path / "target"), archive, r"'a\x00b'", "can't be the name of a file")
    archive = make(tmp_path / "long.zip", {"n" * 5000: b"first", f"{'d' * 300}/a": b"second"})
    refusal(lambda: unpack(archive, tmp_path / "target"), archive, "can't unpack nnn", "File name too long")
    assert content(tmp_path / "target") == {}
