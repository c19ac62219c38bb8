"""`src.report` on runs that were trained: the pictures, the choice of images, and what happens without data."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from src.assembly import gallery as pictures
from src.assembly import report as command
from src.assembly.assemble import Run
from src.assembly.display import evenly, short_names
from src.assembly.gallery import Predictor, labelled_gallery, mapping_of, spread_over, unlabelled_gallery
from src.assembly.patches import Patches
from src.assembly.report import report
from src.assembly.restoring import restore
from src.assembly.train import train
from src.evaluation.matched import Matched
from src.results.pages.sections import matched_of
from src.results.runs import read_run
from tests.composing import composed
from tests.factories import noise, paper
from tests.refusals import refusal
from tests.run_folders import CSV

TINY = ["experiment=demo", "debug=tiny", "trainer.fast_dev_run=false", "trainer.max_epochs=1", "references=none"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A labelled run on generated scenes and a run without labels on a folder of images."""
    root = tmp_path_factory.mktemp("runs")
    (root / "images" / "sub folder ä").mkdir(parents=True)
    for index in range(6):
        picture = np.random.default_rng(index).integers(0, 256, (40, 40 + 8 * index, 3), dtype=np.uint8)
        Image.fromarray(picture).save(root / "images" / ("sub folder ä" if index % 2 else ".") / f"photo {index}.png")
    few = ["data.train_scenes=8", "data.val_scenes=5", "data.scene_size=32"]
    train(composed(root / "labelled", *TINY, *few))
    unlabelled = ["data=folder", f"data.root={root / 'images'}", "data.on_corrupt=skip", "model.num_categories=5"]
    train(composed(root / "unlabelled", *TINY, *unlabelled, "data.batch_size=2"))
    (root / "images" / "broken.jpg").write_bytes(b"no image")
    for name in ("labelled", "unlabelled"):  # drawing all curves of a run takes seconds
        (root / name / "csv" / "metrics.csv").write_text(CSV, encoding="utf-8")
    return SimpleNamespace(root=root, labelled=root / "labelled", unlabelled=root / "unlabelled")


def page_of(folder: Path, *overrides: str) -> str:
    output = report(composed(folder, f"run={folder}", *overrides, name="report"))
    return output.read_text(encoding="utf-8")


def test_the_page_of_a_labelled_run(folders: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    page = page_of(folders.labelled, "images=3")
    assert page.count('alt="prediction of scene') == 3
    ious = [float(value) for value in re.findall(r"scene \d+ <span class=\"kind\">IoU ([\d.]+) %", page)]
    assert len(ious) == 3
    assert ious == sorted(ious, reverse=True)
    assert re.search(r"^report: .*report\.html, 0\.\d\d MB$", capsys.readouterr().out, flags=re.MULTILINE)


def test_predictions_are_those_that_were_scored(folders: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum of the matrices behind the IoUs is the matrix in `scores.json`."""
    totals: list[list[list[int]]] = []

    def seen(matched: Matched | None, look: Predictor, total: torch.Tensor, run: Run) -> torch.Tensor:
        totals.append(total.tolist())
        return mapping_of(matched, look, total, run)

    monkeypatch.setattr(pictures, "mapping_of", seen)
    run = read_run(folders.labelled)
    matched = matched_of(run)
    assert matched is not None
    restored = restore(folders.labelled / command.CHECKPOINT, composed(folders.labelled, "run=x", name="report"))
    gallery = labelled_gallery(restored, matched, 5)
    again = labelled_gallery(restored, None, 5)
    assert totals == [matched.confusion] * 2
    assert [one.iou for one in gallery.shown] == [one.iou for one in again.shown]
    assert gallery.predicted == 5
    assert sorted(gallery.indices) == list(range(5))
    assert {cluster.name.partition(",")[0] for cluster in gallery.clusters} == {f"cluster {k}" for k in range(8)}
    chosen = labelled_gallery(restored, matched, 5, chosen=[3, 1, 77])
    assert list(chosen.indices) == [3, 1]
    for one in gallery.shown:
        assert {picture.size for picture in one.pictures.values()} == {(32, 32)}


def test_the_page_of_a_run_without_labels(folders: SimpleNamespace) -> None:
    page = page_of(folders.unlabelled, "images=4")
    assert page.count('alt="overlay of ') == 4
    assert "sub folder ä/photo 1.png" in page
    assert "4 of 6 training images" in page
    assert "broken.jpg" not in page
    assert 'id="scores"' not in page


def test_one_image_that_can_be_read_is_enough(folders: SimpleNamespace, tmp_path: Path) -> None:
    config = composed(folders.unlabelled, "run=x", f"data.root={tmp_path}", name="report")
    for name in "ab":
        (tmp_path / f"{name}.png").write_bytes(b"")
    path = folders.unlabelled / command.CHECKPOINT
    unreadable = "none of the training images that were tried can be read"
    refusal(lambda: unlabelled_gallery(restore(path, config), 4, 10), unreadable)
    Image.new("RGB", (400, 8)).save(tmp_path / "very wide.png")
    assert [one.name for one in unlabelled_gallery(restore(path, config), 4, 10).shown] == ["very wide.png"]


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["checkpoint", "data"])
def test_without_data_or_checkpoint_the_page_has_no_gallery(
    gone: str, folders: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folders.unlabelled, tmp_path / "run")
    if gone == "checkpoint":
        shutil.rmtree(tmp_path / "run" / "checkpoints")
    page = page_of(tmp_path / "run", *(["data.root=/nowhere"] if gone == "data" else []))
    assert page.count("There are no pictures: there is no f" if gone == "data" else "There are no pictures: there") == 1
    assert "<img" not in page
    assert 'id="curves"' in page
    assert "There are no pictures: " in capsys.readouterr().out


@pytest.mark.slow
def test_runs_side_by_side(folders: SimpleNamespace, tmp_path: Path) -> None:
    shutil.copytree(folders.labelled, tmp_path / "copy")
    pair = f"compare=[{folders.labelled},{tmp_path / 'copy'}]"
    out = report(composed(tmp_path, pair, f"output={tmp_path / 'both.html'}", "images=2", name="report"))
    page = out.read_text(encoding="utf-8")
    assert page.count('alt="image of scene') == 2
    assert len(re.findall(r'alt="[^"]*copy, IoU [\d.]+ % of scene', page)) == 2
    assert "can&#39;t be compared" not in page


def test_a_sweep_is_recognised(folders: SimpleNamespace) -> None:
    assert "2 finished jobs" in page_of(folders.root)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], "expected one of run=DIR and 'compare=[DIR1,DIR2]'"),
        (["run=a", "compare=[a,b]"], "expected one of run=DIR"),
        (["run=/nowhere"], "there is no folder /nowhere: give the folder of a finished run"),
        (["run=3"], "run is 3"),
        (["compare=/nowhere"], "compare is '/nowhere': expected at least two folders"),
        (["compare=[/nowhere]"], "expected at least two folders"),
        (["run=.", "images=-1"], "images is -1"),
        (["run=.", "sample=0"], "sample is 0"),
        (["run=conf"], "no scores.json in or below conf"),
        (["run=.", "output=page.pdf"], "expected the path of a file that ends in .html"),
    ],
    ids=str,
)
def test_refusals(overrides: list[str], said: str, tmp_path: Path) -> None:
    refusal(lambda: report(composed(tmp_path, *overrides, name="report")), said)


def test_a_page_that_cannot_be_written_is_one_line(folders: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "page.html"
    config = composed(tmp_path, f"run={folders.root}", f"output={output}", name="report")
    refusal(lambda: report(config), f"can't write {output}", "output=FILE")


def test_a_stranger_s_checkpoint_runs_nothing(folders: SimpleNamespace, tmp_path: Path) -> None:
    shutil.copytree(folders.labelled, tmp_path / "run")
    path = tmp_path / "run" / command.CHECKPOINT
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["config"]["task"]["_target_"] = "os.system"
    torch.save(checkpoint, path)
    assert "There are no pictures: the stored config wants to call os.system" in page_of(tmp_path / "run")


def test_images_are_chosen_from_the_best_to_the_worst() -> None:
    ious = {4: 10.0, 7: float("nan"), 1: 90.0, 2: 50.0, 9: 20.0, 5: 50.0}
    assert spread_over(ious, 3) == [1, 5, 4]
    assert spread_over(ious, 10) == [1, 2, 5, 9, 4]
    assert spread_over({}, 3) == []
    assert evenly(range(100), 1) == [0]


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["/a/b/c.png", "/a/d/e.png"], ["b/c.png", "d/e.png"]),
        (["/a/b/c.png"], ["c.png"]),
        (["scene 1", "scene 2"], ["scene 1", "scene 2"]),
        ([], []),
    ],
)
def test_names_lose_the_shared_folder(names: list[str], short: list[str]) -> None:
    assert short_names(names) == short


def test_patches_are_the_most_certain_places_of_different_images() -> None:
    patches = Patches(3)
    for index in range(10):
        logits = torch.zeros(3, 8, 12)
        logits[0] = 1.0
        logits[1, 4:6, 9:11] = 2.0 + index  # the patch around it: rows 4 and 5, columns 9 and 10 of the map
        patches.add(index, logits)
    assert [place.image for place in patches.places[1]] == [9, 8, 7, 6, 5, 4]
    assert (patches.places[1][0].row, patches.places[1][0].column) == (5 / 8, 10 / 12)
    assert patches.shares() == pytest.approx([100 * 92 / 96, 100 * 4 / 96, 0])
    read: list[int] = []

    def photograph(index: int) -> Image.Image:
        read.append(index)
        pixels = np.zeros((80, 120), np.uint8)
        pixels[40:60, 90:110] = 10 * index
        return Image.fromarray(pixels).convert("RGB")

    cut = patches.cut(photograph)
    assert len(read) == len(set(read))
    assert [len(one) for one in cut] == [6, 6, 0]
    assert [patch.getcolors() for patch in cut[1]] == [[(400, (10 * k,) * 3)] for k in (9, 8, 7, 6, 5, 4)]


def test_a_predictor_averages_mirror_images_as_the_protocol_says() -> None:
    network: Any = SimpleNamespace(
        features=lambda x: x,
        logits=lambda x, head: x.cumsum(-1),
        num_categories={"main": 3},
        encoder=SimpleNamespace(align_corners=False),
    )
    images, device = noise(2, 3, 4, 4), torch.device("cpu")
    plain = Predictor(network, "main", paper(flip=False), device).logits(images)
    mirrored = Predictor(network, "main", paper(flip=True), device).logits(images)
    assert torch.allclose(mirrored, (plain + images.flip(-1).cumsum(-1).flip(-1)) / 2)


@pytest.mark.slow
def test_scores_of_another_head_are_matched_anew(folders: SimpleNamespace) -> None:
    document = json.loads((folders.labelled / "scores.json").read_text())
    assert document["matched"]["head"] == "main"
    page = page_of(folders.labelled, "protocol.head=aux", "protocol.matching=majority", "images=1", "output=null")
    assert "cluster 127" in page
