"""Images without labels: any tree, ImageNet's, COCO's, or a list of them."""

import json
import math
from pathlib import Path

import pytest
from PIL import Image

from src.assembly.evaluate import evaluate
from src.assembly.train import train
from src.data.folder import FileImages
from src.errors import plain_errors
from src.images.listing import list_images
from tests.composing import composed
from tests.refusals import refusal

TINY = ["experiment=demo", "debug=tiny", "trainer.fast_dev_run=false", "trainer.max_epochs=1", "data.num_workers=0"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Six images at several depths below `train` and `train2017`, and other files."""
    for split in ("train", "train2017"):
        for number, folder in enumerate((".", "n01", "n01", "n02/deep", "n02/deep", "n02")):
            path = tmp_path / "root" / split / folder / f"image{number}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 36), (40 * number, 90, 200)).save(path)
    (tmp_path / "root" / "readme.txt").touch()
    return tmp_path / "root"


@pytest.mark.parametrize(("data", "images"), [("folder", 12), ("imagenet", 6), ("coco", 6)])
def test_training_without_labels_scores_nothing(data: str, images: int, tree: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    config = composed(output, *TINY, f"data={data}", f"data.root={tree}")
    assert math.isnan(train(config))
    written = json.loads((output / "scores.json").read_text())
    assert written["scores"] == {}
    assert written["protocol"] == {"data": "without labels, nothing is scored"}
    assert written["cost"]["steps"] == images // 4
    assert (output / "checkpoints" / "last.ckpt").is_file()
    assert {path.name.partition("_")[0] for path in (output / "pictures").glob("*")} <= {"clusters"}


def test_what_was_trained_without_labels_is_scored_where_there_are_some(
    tree: Path, labelled_root: Path, tmp_path: Path
) -> None:
    train(composed(tmp_path / "run", *TINY, "data=imagenet", f"data.root={tree}"))
    asked = [f"ckpt_path={tmp_path / 'run' / 'checkpoints' / 'last.ckpt'}", "protocol.resamples=0"]
    refusal(lambda: evaluate(composed(tmp_path / "none", *asked, name="evaluate")), "no labels", "data=labelled_folder")
    elsewhere = [*asked, "data=labelled_folder", f"data.root={labelled_root}"]
    assert 0 < evaluate(composed(tmp_path / "elsewhere", *elsewhere, name="evaluate")) < 100


def test_a_list_chooses(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"n01/image2.JPEG\r\nn02/image5.JPEG\r\nimage0.JPEG\r\nn01/image1.JPEG\r\n")
    choice = ["data=imagenet", f"data.root={tree}", f"data.list={tmp_path / 'list.txt'}", "references=none"]
    train(composed(tmp_path / "output", *TINY, *choice))
    assert json.loads((tmp_path / "output" / "scores.json").read_text())["cost"]["steps"] == 1


def test_a_missing_folder_is_named(tree: Path, tmp_path: Path) -> None:
    config = composed(tmp_path / "output", *TINY, "data=imagenet", f"data.root={tree / 'train'}")

    def run() -> None:
        with plain_errors():
            train(config)

    refusal(run, tree / "train" / "train", "train/CLASS/NAME.JPEG", "set data.root or data.images")


def test_images_are_opened_by_the_list(tree: Path) -> None:
    images = FileImages(list_images(tree / "train"))
    assert len(images) == 6
    names = [Path(images.image_name(index)).name for index in range(6)]
    assert sorted(names) == [f"image{number}.JPEG" for number in range(6)]
    red = images.image(names.index("image3.JPEG")).getpixel((5, 5))[0]
    assert abs(red - 120) <= 3
