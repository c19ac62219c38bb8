"""The scripts that prepare downloads: what they print, do and return."""

import io
import re
import runpy
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts import prepare_cityscapes, prepare_coco, prepare_voc
from src.data.coco_stuff import curated_ids
from src.data.preparation.command import prepare
from src.data.preparation.downloads import Part
from src.images.reading import open_image

ROOT = Path(__file__).parents[2]
PARTS = {"coco": prepare_coco.PARTS, "voc": prepare_voc.PARTS, "cityscapes": prepare_cityscapes.PARTS}


def small(parts: Sequence[Part], counts: dict[str, int], ids: dict[str, int]) -> list[Part]:
    """The parts with other numbers: of files by part, of ids by list; parts that aren't named become optional."""
    shrunk = []
    for part in parts:
        lists = tuple(replace(one, count=ids[one.name]) for one in part.ids if one.name in ids)
        scored = replace(part.scored, count=ids[part.scored.name]) if part.scored else None
        count, optional = counts.get(str(part), 1), part.optional or ("" if str(part) in counts else "left out")
        shrunk.append(replace(part, count=count, ids=lists, scored=scored, optional=optional))
    return shrunk


def jpeg(width: int = 700, height: int = 500, format: str = "JPEG") -> bytes:
    pixels = np.linspace(0, 255, width * height * 3).astype(np.uint8).reshape(height, width, 3)
    file = io.BytesIO()
    (Image.fromarray(pixels) if format == "JPEG" else Image.fromarray(pixels[..., 0])).save(file, format)
    return file.getvalue()


def run(capsys: pytest.CaptureFixture[str], parts: Sequence[Part], *arguments: object) -> tuple[int, str, str]:
    code = prepare("", parts, [str(argument) for argument in (*arguments, "--workers", 1)])
    out, err = capsys.readouterr()
    return code, out, err


def cells(out: str, part: str) -> list[str]:
    """What the table says of a part."""
    (row,) = [line for line in out.splitlines() if line.startswith(f"│ {part} ")]
    return [cell.strip() for cell in row.split("│")[2:-1]]


@pytest.fixture
def coco_archives(tmp_path: Path) -> Path:
    """3 images of train, 2 of val with maps, as COCO packs them."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    train, val = (curated_ids(split)[:count] for split, count in (("train", 3), ("val", 2)))
    content = {"train2017": [f"train2017/{one}.jpg" for one in train], "val2017": [f"val2017/{one}.jpg" for one in val]}
    content["stuffthingmaps_trainval2017"] = [f"val2017/{one}.png" for one in val]
    for name, files in content.items():
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            for file in files:
                archive.writestr(file, jpeg(format="JPEG" if file.endswith("jpg") else "PNG"))
    return folder


@pytest.fixture
def coco_parts(monkeypatch: pytest.MonkeyPatch) -> list[Part]:
    monkeypatch.setattr(prepare_coco, "curated_ids", lambda split: curated_ids(split)[: 3 if split == "train" else 2])
    counts = {"train2017/*.jpg": 3, "val2017/*.jpg": 2, "stuffthingmaps/val2017/*.png": 2}
    return small(PARTS["coco"], counts, {"the curated list of train": 3, "the curated list of val": 2})


def test_unpack_check_and_copy(
    tmp_path: Path, coco_archives: Path, coco_parts: list[Part], capsys: pytest.CaptureFixture[str]
) -> None:
    root, target = tmp_path / "coco", tmp_path / "small"
    arguments = (root, "--unpack", "--archives", coco_archives, "--resize", 320, "--to", target)
    code, out, err = run(capsys, coco_parts, *arguments)
    assert (code, err) == (0, "")
    assert cells(out, "train2017/*.jpg")[0:2] == ["3", "3"]
    assert cells(out, "stuffthingmaps/val2017/*.png")[-2:] == ["2", "ok"]
    assert cells(out, "unlabeled2017/*.jpg")[-1] == "not there (optional)"
    assert "stuffthingmaps_trainval2017.zip: 2 files unpacked, 0 were there already" in out
    assert "Images and labels to score are copied unchanged" in out
    assert re.search(r"3 files +│ +[\d.]+ kB │ +[\d.]+ kB │ +[\d.]+ │", out)
    assert re.search(r"320 x 320 view, mean of 3 +│ +[\d.]+ ms │ +[\d.]+ ms │ +[\d.]+ │", out)
    first, scored = curated_ids("train")[0], curated_ids("val")[0]
    assert open_image(target / "train2017" / f"{first}.jpg").size == (448, 320)
    assert (target / "val2017" / f"{scored}.jpg").read_bytes() == jpeg()
    code, out, _ = run(capsys, coco_parts, target)
    assert code == 0
    assert "shorter side 320" in out
    code, _, err = run(capsys, coco_parts, target, "--unpack", "--archives", coco_archives)
    assert (code, len(err.splitlines())) == (1, 1)
    assert "is a resized copy" in err


def test_what_is_missing_is_named_with_its_source(
    tmp_path: Path, coco_archives: Path, coco_parts: list[Part], capsys: pytest.CaptureFixture[str]
) -> None:
    root, gone = tmp_path / "coco", curated_ids("val")[1]
    (coco_archives / "train2017.zip").unlink()
    run(capsys, coco_parts, root, "--unpack", "--archives", coco_archives)
    (root / "stuffthingmaps" / "val2017" / f"{gone}.png").unlink()
    code, out, _ = run(capsys, coco_parts, root)
    assert code == 1
    assert "train2017/*.jpg: 3 of 3 files missing" in out
    assert cells(out, "stuffthingmaps/val2017/*.png")[-1] == "incomplete"
    assert f"1 of the 2 ids of the curated list of val have no file: {gone}.png" in out
    assert "  train2017.zip (19.3 GB) from http://images.cocodataset.org/zips/train2017.zip\n" in out
    assert "  unlabeled2017.zip (20.1 GB) from http://images.cocodataset.org/zips/unlabeled2017.zip (optional)\n" in out
    assert "val2017.zip (815.6 MB)" not in out


def test_an_unreadable_image_is_left_out_of_the_copy_and_named(
    tmp_path: Path, coco_archives: Path, coco_parts: list[Part], capsys: pytest.CaptureFixture[str]
) -> None:
    root, target, broken = tmp_path / "coco", tmp_path / "small", f"{curated_ids('train')[1]}.jpg"
    run(capsys, coco_parts, root, "--unpack", "--archives", coco_archives)
    (root / "train2017" / broken).write_bytes(jpeg()[:1000])
    code, out, _ = run(capsys, coco_parts, root, "--decode", 0, "--resize", 320, "--to", target)
    assert code == 1
    assert cells(out, "train2017/*.jpg")[-2:] == ["0", "ok"]  # the check decoded none
    assert f"can't read the image {root / 'train2017' / broken}" in out
    assert f"1 images can't be read and are not in {target}" in out
    code, out, _ = run(capsys, coco_parts, root, "--decode", "all")
    assert (code, cells(out, "train2017/*.jpg")[-2:]) == (1, ["3", "damaged"])


def test_voc_keeps_what_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    year = "VOCdevkit/VOC2012"
    files = {
        f"{year}/ImageSets/Segmentation/{name}.txt": text for name, text in (("train", b"a\nb\n"), ("val", b"c\n"))
    }
    files |= {f"{year}/ImageSets/Segmentation/trainval.txt": b"a\nb\nc\n"}
    files |= {f"{year}/JPEGImages/{one}.jpg": jpeg() for one in "abcd"}
    files |= {f"{year}/SegmentationClass/{one}.png": jpeg(format="PNG") for one in "abc"}
    with tarfile.open(tmp_path / "VOCtrainval_11-May-2012.tar", "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    lists = {f"{year}/ImageSets/Segmentation/train.txt": 2, f"{year}/ImageSets/Segmentation/val.txt": 1}
    lists |= {"VOCdevkit/VOC2007/ImageSets/Main/test.txt": 1}
    counts = {f"{year}/JPEGImages/*.jpg": 4, f"{year}/SegmentationClass/*.png": 3}
    parts = small(PARTS["voc"], counts | {f"{year}/ImageSets/Segmentation/*.txt": 3}, lists)
    target = tmp_path / "small"
    code, out, err = run(capsys, parts, tmp_path, "--unpack", "--resize", 320, "--to", target)
    assert (code, err) == (0, "")
    sizes = {one: open_image(target / year / "JPEGImages" / f"{one}.jpg").size for one in "abcd"}
    assert sizes == {"a": (448, 320), "b": (448, 320), "c": (700, 500), "d": (448, 320)}
    assert [path.name for path in (target / year / "SegmentationClass").iterdir()] == ["c.png"]
    code, out, _ = run(capsys, parts, target)
    assert (code, cells(out, f"{year}/SegmentationClass/*.png")[:2]) == (0, ["1", "1"])
    (tmp_path / year / "JPEGImages" / "c.jpg").unlink()
    code, out, _ = run(capsys, parts, tmp_path)
    assert code == 1
    assert f"1 of the 1 ids of {year}/ImageSets/Segmentation/val.txt have no file: c.jpg" in out


def test_every_image_of_cityscapes_needs_its_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("frankfurt/frankfurt_000000_000294", "munster/munster_000000_000019"):
        for folder, end in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds"), ("gtFine", "gtFine_color")):
            path = tmp_path / folder / "val" / f"{name}_{end}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(jpeg(format="PNG"))
    counts = {"leftImg8bit/val/*/*_leftImg8bit.png": 2, "gtFine/val/*/*_gtFine_labelIds.png": 2}
    parts = small(PARTS["cityscapes"], counts, {"the images of val": 2})
    assert run(capsys, parts, tmp_path)[0] == 0
    (tmp_path / "gtFine/val/munster/munster_000000_000019_gtFine_labelIds.png").unlink()
    code, out, _ = run(capsys, parts, tmp_path)
    assert code == 1
    assert "of the images of val have no file: munster/munster_000000_000019_gtFine_labelIds.png" in out
    assert "gtFine_trainvaltest.zip (252.6 MB) from https://www.cityscapes-dataset.com/downloads/ (log in" in out


@pytest.mark.parametrize(
    ("name", "archive"),
    [("coco", "val2017.zip"), ("voc", "VOCtest_06-Nov-2007.tar"), ("cityscapes", "gtFine_trainvaltest.zip")],
)
def test_the_scripts_say_what_is_wrong_in_one_line(
    name: str, archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / archive).write_bytes(b"half a file")
    script = ROOT / "scripts" / f"prepare_{name}.py"
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path), "--unpack"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(script), run_name="__main__")
    out, err = capsys.readouterr()
    assert (caught.value.code, out, len(err.splitlines())) == (1, "", 1)
    assert f"can't open {tmp_path / archive}, 11 bytes" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}/nowhere"], "there is no folder"),
        (["{}", "--unpack"], "holds no archive to unpack: expected some of VOCtrainval_11-May-2012.tar, "),
        (["{}", "--resize", "320", "--to", "{}/small"], "has no training images to resize"),
    ],
)
def test_what_is_asked_in_vain(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, PARTS["voc"], *(argument.format(tmp_path) for argument in arguments))
    assert (code, len(err.splitlines())) == (1, 1)
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("src.data.preparation.command.inspect", interrupted)
    assert run(capsys, PARTS["coco"], tmp_path) == (1, "", "interrupted: give the same command again to continue\n")


@pytest.mark.parametrize("arguments", [["--resize", "320"], ["--to", "x"], ["--archives", "x"], ["--decode", "some"]])
def test_options_that_do_not_fit_are_refused(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(capsys, PARTS["coco"], tmp_path, *arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize("name", PARTS)
def test_the_numbers_fit_together(name: str) -> None:
    for part in PARTS[name]:
        assert part.archives
        assert all(ids.count <= part.count for ids in part.ids)
        assert part.scored is None or part.scored in part.ids
    assert len({str(part) for part in PARTS[name]}) == len(PARTS[name])
    assert any(part.in_copy == "resized" for part in PARTS[name])
