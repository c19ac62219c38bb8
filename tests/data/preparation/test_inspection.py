"""What the check of a download finds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data.preparation.downloads import Archive, Ids, Part, in_copy
from src.data.preparation.inspection import Finding, inspect
from src.images.listing import read_list

PART = Part(
    folder="train",
    pattern="*.png",
    count=5,
    archives=(Archive("train.zip", "http://example.org/train.zip", 2_000_000),),
    kind="images",
    in_copy="resized",
)


def save_images(folder: Path, names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (8, 6)).save(folder / f"{name}.png")


def look(root: Path, part: Part = PART, sample: int | None = 3) -> Finding:
    return inspect(root, part, sample, workers=0)


def ids(*names: str, count: int | None = None) -> Ids:
    return Ids("the list", len(names) if count is None else count, lambda root: names)


def test_a_complete_part(tmp_path: Path) -> None:
    save_images(tmp_path / "train", "abcde")
    (tmp_path / "train" / ".hidden.png").touch()
    (tmp_path / "train" / "f.png.part").touch()
    size = sum(path.stat().st_size for path in (tmp_path / "train").iterdir())
    part = replace(PART, ids=(ids("a", "e"),))
    found = look(tmp_path, part)
    assert found == Finding(part, found=5, size=size, decoded=3, missing=(), damaged=())
    assert (found.state, found.needed) == ("ok", False)


def test_missing_files_are_counted_and_missing_ids_named(tmp_path: Path) -> None:
    save_images(tmp_path / "train", "abc")
    part = replace(PART, ids=(ids("a", "v", "w", "x", "y"), ids("a", "b")))
    found = look(tmp_path, part)
    assert found.missing == (
        "2 of 5 files missing",
        "4 of the 5 ids of the list have no file: v.png, w.png, x.png, ...",
    )
    assert (found.state, found.needed) == ("incomplete", True)


def test_a_list_that_is_short_or_missing_is_a_fault(tmp_path: Path) -> None:
    save_images(tmp_path / "train", "abcde")

    def missing(root: Path) -> list[str]:
        return read_list(root / "list.txt")

    part = replace(PART, ids=(ids("a", "b", count=3), Ids("list.txt", 2, missing)))
    short, unreadable = look(tmp_path, part).missing
    assert short == "the list has 2 ids: expected 3"
    assert str(tmp_path / "list.txt") in unreadable
    (tmp_path / "list.txt").write_text("a\nb\n")
    assert look(tmp_path, part).missing == (short,)


@pytest.mark.parametrize(("optional", "state"), [("", "missing"), ("for more", "not there")])
def test_a_part_that_is_not_there(optional: str, state: str, tmp_path: Path) -> None:
    found = look(tmp_path, replace(PART, optional=optional, ids=(ids("a"),)))
    assert (found.state, found.needed, found.missing) == (state, not optional, ("5 of 5 files missing",))
    assert look(tmp_path, replace(PART, count=1)).missing == ("missing",)


def test_empty_and_unreadable_files_are_named(tmp_path: Path) -> None:
    save_images(tmp_path / "train", "abcde")
    whole = (tmp_path / "train" / "a.png").read_bytes()
    (tmp_path / "train" / "a.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "train" / "e.png").write_bytes(b"")
    found = look(tmp_path, sample=2)  # the first and the last
    empty, unreadable = found.damaged
    assert empty == "empty files (1): e.png"
    assert str(tmp_path / "train" / "a.png") in unreadable
    assert unreadable.endswith("(and 1 more)")
    assert (found.state, found.needed) == ("damaged", True)


@pytest.mark.parametrize(
    ("sample", "decoded", "noticed"), [(4, 4, False), (None, 5, True), (9, 5, True), (0, 0, False)]
)
def test_the_sample_is_as_large_as_asked_for(sample: int | None, decoded: int, noticed: bool, tmp_path: Path) -> None:
    save_images(tmp_path / "train", "abcde")
    (tmp_path / "train" / "c.png").write_bytes(b"nothing")  # 4 of 5: a, b, d, e
    found = look(tmp_path, sample=sample)
    assert (found.decoded, bool(found.damaged)) == (decoded, noticed)


def test_labels_must_have_one_channel_and_other_files_are_not_decoded(tmp_path: Path) -> None:
    save_images(tmp_path / "train", "abcde")
    (fault,) = look(tmp_path, replace(PART, kind="labels")).damaged
    assert "mode RGB" in fault
    found = look(tmp_path, replace(PART, kind="other"))
    assert (found.state, found.decoded) == ("ok", 0)


def test_a_file_known_to_be_broken_is_named_and_never_counted(tmp_path: Path) -> None:
    save_images(tmp_path / "train", "abcde")
    part = replace(PART, count=4, broken=("c.png",))
    found = look(tmp_path, part)
    assert (found.found, found.damaged) == (4, ("c.png is broken as published: remove it",))
    (tmp_path / "train" / "c.png").unlink()
    assert look(tmp_path, part).state == "ok"


def test_ids_of_files_in_folders(tmp_path: Path) -> None:
    images = replace(PART, pattern="*/*_image.png")
    labels = replace(PART, folder="labels", pattern="*/*_label.png", count=3)
    for folder, end, names in (("train", "image", "abc"), ("labels", "label", "ab")):
        for name in names:
            path = tmp_path / folder / "city" / f"{name}_{end}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)
    assert images.all_ids(tmp_path) == ["city/a", "city/b", "city/c"]
    found = look(tmp_path, replace(labels, kind="labels", ids=(Ids("the images", 3, images.all_ids),)))
    assert found.missing[1] == "1 of the 3 ids of the images have no file: city/c_label.png"


def test_a_copy_is_expected_to_hold_what_is_scored() -> None:
    scored = ids("a", "b")
    unchanged = replace(PART, in_copy="unchanged")
    labels = replace(PART, in_copy="left out", ids=(ids("a", "c"),))
    kept = replace(PART, in_copy="left out", ids=(ids("a", "c"),), scored=scored)
    assert in_copy((PART, labels, unchanged, kept)) == [PART, unchanged, replace(kept, count=2, ids=(scored,))]


def test_an_archive_says_where_it_is_to_be_had() -> None:
    assert str(PART.archives[0]) == "train.zip (2.0 MB) from http://example.org/train.zip"
    assert str(Archive("a.zip", "a page", 0)) == "a.zip from a page"
