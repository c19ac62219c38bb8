"""Finding the images below a folder, and reading lists."""

import os
import sys
from pathlib import Path

import pytest

from src.images import listing
from src.images.file_list import FileList
from src.images.listing import list_images, listed_images, read_list
from tests.refusals import refusal


def fill(root: Path, *names: str) -> Path:
    """Empty files, with their folders."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def names(files: FileList) -> list[str]:
    return [path.relative_to(files.root).as_posix() for path in files]


def naive(root: Path, below: str = "") -> list[str]:
    here = sorted(path for path in (root / below).iterdir() if not path.name.startswith("."))
    found = [below + path.name for path in here if path.is_file() and path.suffix.lower() in listing.SUFFIXES]
    return found + [name for path in here if path.is_dir() for name in naive(root, f"{below}{path.name}/")]


# What is found


def test_images_come_before_folders_both_sorted(tmp_path: Path) -> None:
    expected = ["a.jpg", "é.jpg", "B/0.jpg", "B/2/x.jpg", "B.x/1.jpg", "c/10.jpg", "c/9.jpg"]
    root = fill(tmp_path, *sorted(expected, reverse=True), "notes.txt", "c/list.json")
    assert names(list_images(root)) == expected == naive(root)


def test_order_is_that_of_an_obvious_walk(tmp_path: Path) -> None:
    root = fill(tmp_path, *(f"{k % 7}/{k % 5}.{k % 3}/{k * 7919 % 1000}{'.png' * (k % 4 > 0)}" for k in range(200)))
    found = names(list_images(root))
    assert found == naive(root)
    assert len(found) == 150


def test_suffixes_in_any_case_and_nothing_hidden(tmp_path: Path) -> None:
    expected = ["a.JPEG", "b.jpg", "c.PNG", "d.bmp", "e.webp", "f.tif", "g.TIFF", "h.ppm", "i.gif", "j.tar.jpg"]
    others = ["x.jpg.txt", "x.npy", "jpg", ".jpg", ".a.jpg", "._b.jpg", ".git/c.jpg", "__MACOSX/._d.jpg"]
    assert names(list_images(fill(tmp_path, *expected, *others))) == expected


def test_what_is_no_file_may_be_called_like_an_image(tmp_path: Path) -> None:
    root = fill(tmp_path, "a.jpg/b.jpg")
    os.mkfifo(root / "pipe.jpg")
    assert names(list_images(root)) == ["a.jpg/b.jpg"]


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="its file systems take Unicode names only")
def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    root = fill(tmp_path / "root", os.fsdecode(b"caf\xe9/\xff.jpg"))
    (path,) = list_images(root)
    assert os.fsencode(path) == os.fsencode(root) + b"/caf\xe9/\xff.jpg"
    assert path.is_file()


def test_links_are_followed_but_no_folder_is_listed_twice(tmp_path: Path) -> None:
    root, other = fill(tmp_path / "root", "a/1.jpg", "b/2.jpg"), fill(tmp_path / "other", "3.jpg", "4.txt")
    (root / "a" / "up").symlink_to(root)
    (root / "b" / "a").symlink_to(root / "a")
    (root / "c").symlink_to(other)
    (root / "d").symlink_to(other)
    (root / "e.jpg").symlink_to(other / "3.jpg")
    (other / "back").symlink_to(root / "b")
    assert names(list_images(root)) == ["e.jpg", "a/1.jpg", "b/2.jpg", "c/3.jpg"]


def test_links_to_nowhere_are_counted(tmp_path: Path) -> None:
    root = fill(tmp_path, "a.jpg")
    (root / "b").mkdir()
    (root / "b" / "gone.jpg").symlink_to(root / "nothing.jpg")
    (root / "b" / "loop").symlink_to("loop")
    with pytest.warns(UserWarning, match=r"holds 2 links that lead nowhere, the first is b/"):
        assert names(list_images(root)) == ["a.jpg"]


def test_no_images(tmp_path: Path) -> None:
    refusal(lambda: list_images(tmp_path / "gone"), tmp_path / "gone", "is no folder")
    refusal(lambda: list_images(tmp_path), tmp_path, "found 0 other files:", ".jpeg .jpg .png")
    fill(tmp_path, "n1.tar", "n2.TAR", "n3.tar", "b/README", ".hidden.jpg")
    refusal(lambda: list_images(tmp_path), tmp_path, "4 other files (3 .tar, 1 without suffix)")
    refusal(lambda: list_images(tmp_path / "n1.tar"), tmp_path / "n1.tar", "is no folder")


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, scandir = fill(tmp_path, "a.jpg", "locked/b.jpg"), os.scandir

    def locked(path: str) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    refusal(lambda: list_images(root), root / "locked", "Permission denied", "make it readable")


# Lists


@pytest.mark.parametrize(
    "text",
    [
        b"b.jpg\na c.jpg\n\xc3\xa4/1.jpg\n",
        b"\xef\xbb\xbfb.jpg\r\na c.jpg\r\n\r\n\xc3\xa4/1.jpg",
        b"\n  b.jpg\t\n\n./a c.jpg \n \n\xc3\xa4//1.jpg\n\n",
        b"b.jpg\ra c.jpg\r\xc3\xa4/x/../1.jpg",
    ],
    ids=["plain", "Windows", "blanks and dots", "carriage returns"],
)
def test_a_list_is_one_name_a_line(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(text)
    assert read_list(tmp_path / "list.txt") == ["b.jpg", "a c.jpg", "ä/1.jpg"]


def test_repeated_names_count_once(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("c\nb\na\n./b\nb\na\n")
    with pytest.warns(UserWarning, match=r"list.txt repeats 3 names, the first is b"):
        assert read_list(tmp_path / "list.txt") == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (b"", ["is empty", "one file name a line"]),
        (b"\xef\xbb\xbf \r\n\n", ["is empty"]),
        ("a.jpg\n".encode("utf-16"), ["utf-8", "expected UTF-8 text"]),
        (b"\x89PNG\r\n\x1a\n\x00", ["utf-8"]),
        (b"a.jpg\n\n/etc/b.jpg\n", ["line 3 of", "is /etc/b.jpg", "relative"]),
        (b"a/../../b.jpg\n", ["line 1 of", "is a/../../b.jpg"]),
        (b"..\n", ["line 1 of"]),
    ],
)
def test_lists_that_are_refused(text: bytes, parts: list[str], tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(text)
    refusal(lambda: read_list(tmp_path / "list.txt"), tmp_path / "list.txt", *parts)


def test_no_list(tmp_path: Path) -> None:
    refusal(lambda: read_list(tmp_path / "gone.txt"), tmp_path / "gone.txt", "No such file")
    refusal(lambda: read_list(tmp_path), tmp_path, "expected UTF-8 text")


def test_listed_files_keep_the_order_of_the_list(tmp_path: Path) -> None:
    files = listed_images(fill(tmp_path, "b/2.jpg", "1.jpg", "3.jpg"), ["3.jpg", "b/2.jpg"])
    assert list(files) == [tmp_path / "3.jpg", tmp_path / "b" / "2.jpg"]


def test_listed_files_that_are_missing(tmp_path: Path) -> None:
    root = fill(tmp_path, "a/1.jpg")
    with pytest.warns(UserWarning, match=r"lacks 2 of the 3 listed files, such as 0.jpg"):
        assert names(listed_images(root, ["0.jpg", "a/1.jpg", "a"])) == ["a/1.jpg"]
    refusal(lambda: listed_images(root, ["0.jpg", "1.jpg"]), root, "none of the 2 listed files, such as 0.jpg")
    refusal(lambda: listed_images(root / "gone", ["0.jpg"]), root / "gone", "none of the 1")
