"""docs/exporting.md: every command and every line of Python on a small run."""

import json
import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from src.assembly.export import export
from src.assembly.train import train
from tests.composing import CONF, TINY_EPOCHS, composed
from tests.factories import noise_image
from tests.refusals import refusal

PAGE = (Path(__file__).parents[1] / "docs" / "exporting.md").read_text(encoding="utf-8")
SHORT = ("trainer.max_epochs=1", "references=none", "score_before=false", "protocol.resamples=0")


@pytest.mark.slow
def test_the_page_works_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("timm", "onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    train(composed(tmp_path / "run", *TINY_EPOCHS, *SHORT, "model/encoder=resnet18"))
    monkeypatch.chdir(tmp_path)
    noise_image(90, 60).save("photo.jpg")
    commands = [shlex.split(line, comments=True)[3:] for line in re.findall(r"^python -m src.export .*$", PAGE, re.M)]
    assert len(commands) == 7
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for command in commands:
            export(compose("export", [*command, "ckpt_path=run/checkpoints/last.ckpt"]))
        refused = compose("export", ["ckpt_path=run/checkpoints/last.ckpt", "output=a.onnx", "head=third"])
        refusal(lambda: export(refused), "head is 'third'")
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert len(blocks) == 8
    for block in blocks:
        exec(block, {})
    record = json.loads(Path("network.onnx.json").read_text())
    assert (record["method"], record["data"]["kind"], record["epochs"]) == ("Segment", "Scenes", 1)
    assert len(record["classes"]["class_of_cluster"]) >= len(record["classes"]["names"]) > 0
    printed = json.loads(Path("encoder.pkl.json").read_text())["config"]
    (lines,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    documented = dict(line.split(": ") for line in lines.splitlines())
    assert {key: value if isinstance(value, str) else json.dumps(value) for key, value in printed.items()} == documented
