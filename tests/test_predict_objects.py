"""`src.predict`, `src.evaluate` and `src.report` on the checkpoint of a detector with masks."""

import json
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from src.assembly import detection_gallery
from src.assembly.evaluate import evaluate
from src.assembly.predict import predict
from src.assembly.report import report
from src.assembly.train import train
from src.drawing.boxes import drawn
from tests.composing import CONF, composed
from tests.detecting import coco_tree, mask_overrides
from tests.refusals import refusal


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    values = ["trainer.fast_dev_run=false", "trainer.max_steps=2", "callbacks.progress=null"]
    train(composed(root, *mask_overrides(coco_tree(root / "data")), *values))
    return root


def command(*values: str) -> Any:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("predict", list(values))


@pytest.mark.slow
def test_objects_of_a_folder(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [f"ckpt_path={run / 'checkpoints' / 'last.ckpt'}", f"input={run / 'data' / 'val2017'}", "num_threads=1"]
    assert predict(command(*given, f"output={tmp_path / 'out'}", "min_score=0")) == 0
    assert "3 images in" in capsys.readouterr().out
    written = sorted((tmp_path / "out" / "detections").iterdir())
    assert len(written) == len(list((tmp_path / "out" / "overlays").iterdir())) == 3
    for path in written:
        content = json.loads(path.read_text())
        assert (content["width"], content["height"]) == (96, 64)
        for one in content["objects"]:
            assert one["class"] in ("cat", "dog")
            assert one["mask"]["size"] == [64, 96]
            assert sum(one["mask"]["counts"]) == 64 * 96
    assert predict(command(*given, f"output={tmp_path / 'out'}", "min_score=0")) == 0
    assert "3 were there before" in capsys.readouterr().out
    refusal(lambda: predict(command(*given, f"output={tmp_path / 'out'}", "min_score=0.5")), "other settings")
    refusal(lambda: predict(command(*given, f"output={tmp_path / 'two'}", "flip=true")), "flip", "no effect")
    refusal(lambda: predict(command(*given, f"output={tmp_path / 'two'}", "min_score=2")), "min_score")


@pytest.mark.slow
def test_the_page_of_a_detector(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(detection_gallery, "drawn", lambda *given: seen.append(set(given[1])) or drawn(*given))
    page = report(composed(run, f"run={run}", "images=2", name="report")).read_text(encoding="utf-8")
    assert len(seen) == 4
    assert all("masks" in objects for objects in seen)  # annotations have them too
    assert page.count('alt="prediction of ') == page.count('alt="annotations of ') == 2
    assert "2 of 3 images, spread over those that are scored" in page
    assert 'id="clusters"' not in page
    assert "learned its classes from labels" in page
    assert "nothing else" not in page


@pytest.mark.slow
def test_a_detector_is_scored_again(run: Path, tmp_path: Path) -> None:
    before = json.loads((run / "scores.json").read_text())["scores"]["after training"]
    ckpt = run / "checkpoints" / "last.ckpt"
    values = [f"ckpt_path={ckpt}", "trainer.accelerator=cpu", "callbacks.progress=null"]
    evaluate(composed(tmp_path, *values, name="evaluate"))
    again = json.loads((tmp_path / "scores.json").read_text())["scores"]["checkpoint"]
    assert again == before
    assert {"AP", "AP50", "AP75", "mask_AP", "mask_AP50", "mask_AP75"} <= set(again)
