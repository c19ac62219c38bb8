"""Lists and folders that do not fit what is on disk: warned of or refused, with a name to look for."""

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from src.data.coco_stuff import CocoStuff
from src.data.datamodule import ImageData
from src.data.folder import Folder
from src.data.labelled_folder import LabelledFolder
from src.data.views import CropAndWhole
from src.errors import DenseSiamError
from src.evaluation.protocol import EvaluationProtocol
from tests.data.broken import folder_of, png
from tests.data.documented import quoted, require_documented, row

LOADING = {
    "views": CropAndWhole(24, (0.5, 1.0), 0.0, nn.Identity()),
    "protocol": EvaluationProtocol("small", 32, True, False, "hungarian", "main", False, 0),
    "batch_size": 1,
    "num_workers": 0,
    "seed": 0,
    "on_corrupt": "raise",
}


def listed(content: bytes | None) -> Callable[[Path], ImageData]:
    """`data=folder` with two images, and a list."""

    def make(root: Path) -> Folder:
        pictures(root, "a.jpg", "in/b.jpg")
        if content is not None:
            (root / "list.txt").write_bytes(content)
        return folder(root, list=str(root / "list.txt"))

    return make


def pictures(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png())


def folder(root: Path, **options: str) -> Folder:
    return Folder(str(root), **{"images": ".", "layout": "images", "list": None, **options}, **LOADING)


def holding(*names: str) -> Callable[[Path], ImageData]:
    """`data=folder` with files of these names."""

    def make(root: Path) -> Folder:
        pictures(root, *names)
        return folder(root)

    return make


def with_macos_files(root: Path) -> CocoStuff:
    coco("all", val="7")(root)
    for name in ("train2017/._000000000139.jpg", "val2017/._000000000007.jpg"):
        (root / name).write_bytes(b"\0\5\x16\7")
    return CocoStuff(str(root), 27, "all", "all", **LOADING)


def with_link(root: Path) -> Folder:
    pictures(root, "a.jpg")
    (root / "gone.jpg").symlink_to("nowhere.jpg")
    return folder(root)


def absent(root: Path) -> Folder:
    return folder(root / "absent")


def coco(train_list: str, val_list: str = "all", train: str = "139", val: str = "139") -> Callable[[Path], ImageData]:
    """`data=coco_stuff27` with an image 139 in each split but for other ones here, and the text of lists."""

    def make(root: Path) -> CocoStuff:
        pictures(root, f"train2017/{int(train):012}.jpg", f"val2017/{int(val):012}.jpg")
        pictures(root, f"stuffthingmaps/val2017/{int(val):012}.png")
        choices = []
        for split, text in (("train", train_list), ("val", val_list)):
            (root / f"{split}.txt").write_text(text, encoding="ascii", newline="")
            choices.append(text if text in ("all", "curated") else str(root / f"{split}.txt"))
        return CocoStuff(str(root), 27, *choices, **LOADING)

    return make


def splits(*train: str, val: str = "val", batch_size: int = 1) -> Callable[[Path], ImageData]:
    """`data=labelled_folder` with an image in each of `train` and `val`."""

    def make(root: Path) -> LabelledFolder:
        folder_of(root, [])
        return LabelledFolder(str(root), list(train), val, **{**LOADING, "batch_size": batch_size})

    return make


def without_labels(root: Path) -> LabelledFolder:
    folder_of(root, [])
    pictures(root, "images/val/more.png")
    return LabelledFolder(str(root), ["train"], "val", **LOADING)


def sharing(split: str) -> Callable[[Path], ImageData]:
    def make(root: Path) -> LabelledFolder:
        folder_of(root, [])
        pictures(root, f"images/{split}/good.jpg")
        return LabelledFolder(str(root), ["train"], "val", **LOADING)

    return make


def linked_split(root: Path) -> LabelledFolder:
    folder_of(root, [])
    for kind in ("images", "labels"):
        shutil.rmtree(root / kind / "val")
        (root / kind / "val").symlink_to("train")
    return LabelledFolder(str(root), ["train"], "val", **LOADING)


# What each of them is, and how many images there are to train on afterwards, None where it stops.
KINDS: dict[str, tuple[Callable[[Path], ImageData], int | None]] = {
    "`list` with Windows line ends": (listed(b"a.jpg\r\nin/b.jpg\r\n"), 2),
    "`list` with a byte order mark": (listed("\ufeffa.jpg\nin/b.jpg\n".encode()), 2),
    "`list` with blank lines and blanks around names": (listed(b"\n a.jpg \n\nin/b.jpg"), 2),
    "`list` with a name twice": (listed(b"a.jpg\nin/b.jpg\n./a.jpg\n"), 2),
    "`list` with a name that has no file": (listed(b"a.jpg\nc.jpg\n"), 1),
    "`list` of other files": (listed(b"c.jpg\nd.jpg\n"), None),
    "`list` with Windows' backslashes": (listed(b"a.jpg\nin\\b.jpg\n"), 1),
    "`list` with an absolute name": (listed(b"a.jpg\n/in/b.jpg\n"), None),
    "`list` with a name outside the folder": (listed(b"a.jpg\n../b.jpg\n"), None),
    "`list` in UTF-16, as PowerShell writes it": (listed("a.jpg\r\n".encode("utf-16")), None),
    "empty `list`": (listed(b""), None),
    "`list` of blank lines": (listed(b"\r\n\r\n"), None),
    "no such `list`": (listed(None), None),
    "folder with other files only": (holding("a.txt", "b.txt", "c"), None),
    "folder with a link that leads nowhere": (with_link, 1),
    "no such folder": (absent, None),
    "`train_list` with Windows line ends, folders and suffixes": (coco("train2017\\000000000139.jpg\r\n", val="7"), 1),
    "`train_list` with an id twice": (coco("139\n000000000139\n", val="7"), 1),
    "`train_list` with an id that has no file": (coco("139\n142\n", val="7"), 1),
    "`val_list` with an id that has no file": (coco("139", "7\n8\n", val="7"), 1),
    "macOS's `._ID.jpg` beside COCO's images": (with_macos_files, 1),
    "empty `val_list`": (coco("139", "\n", val="7"), None),
    "the curated list, and none of its images": (coco("curated", val="7"), None),
    "an image in both `train_list` and `val_list`": (coco("139", "139"), 1),
    "a split both trained on and scored": (splits("train", "val"), 2),
    "a split named twice": (splits("train", "train"), None),
    "a split without a folder": (splits("test"), None),
    "an image without labels": (without_labels, None),
    "images that share a stem, to score": (sharing("val"), None),
    "images that share a stem, to train on": (sharing("train"), 2),
    "a split that is a link to another": (linked_split, 1),
    "fewer images than a batch": (splits("train", batch_size=2), None),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[str], int | None]]:
    """What is said, warnings first, and how many images there are to train on."""
    found = {}
    for kind, (make, _) in KINDS.items():
        root = tmp_path_factory.mktemp("lists")
        images = None
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                images, stopped = len(make(root).train), []
            except DenseSiamError as error:
                stopped = [quoted(error, root)]
        found[kind] = ([quoted(warning.message, root) for warning in warned] + stopped, images)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_lists_and_folders(kind: str, outcomes: dict[str, tuple[list[str], int | None]]) -> None:
    said, images = outcomes[kind]
    assert images == KINDS[kind][1]
    assert len(said) <= 1


def test_the_table_of_lists(outcomes: dict[str, tuple[list[str], int | None]]) -> None:
    rows = []
    for kind, (said, images) in outcomes.items():
        warned = f"warns: {said[0]}" if said else "loaded"
        rows.append(row(kind, said[0] if images is None else warned))
    require_documented("Lists and folders", rows)
