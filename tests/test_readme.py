"""Commands and code of the README and of pages beside it run as they stand there; all compose elsewhere."""

import re
import shlex
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from src.assembly.evaluate import evaluate
from src.assembly.train import train
from tests.composing import TINY, TINY_EPOCHS, composed
from tests.factories import noise_image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [README, *((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8") for page in ("using", "scoring"))]
SHELL = re.findall(r"^(?:make|python) .*$", "\n".join(re.findall(r"```sh\n(.*?)```", "\n".join(PAGES), re.S)), re.M)
COMMANDS = [shlex.split(line, comments=True) for line in dict.fromkeys(" ".join(line.split()) for line in SHELL)]
PLACE = "outputs/.../checkpoints/last.ckpt"


def arguments(module: str) -> list[list[str]]:
    """What follows `python -m MODULE` in each command of the README."""
    return [command[3:] for command in COMMANDS if command[:3] == ["python", "-m", module]]


def is_run(command: list[str]) -> bool:
    """Whether a training command runs as it is on this machine: no sweep, no printing, no GPUs."""
    return not {"-m", "--cfg", "trainer=ddp"} & set(command)


def test_every_kind_of_command_is_there() -> None:
    assert {command[0] for command in COMMANDS} == {"make", "python"}
    assert sum(is_run(command) for command in arguments("src.train")) >= 3
    assert len(arguments("src.evaluate")) == 4
    assert len(README.split()) <= 900
    texts = [README, *(page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md"))]
    assert [found for text in texts for found in re.findall(r"@[A-Z]\w*@", text)] == []


def test_links_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))]
    assert len(links) > 20
    assert [(page.name, link) for page, link in links if not (page.parent / link).is_file()] == []


@pytest.mark.parametrize("command", [c for c in arguments("src.train") if is_run(c)], ids=" ".join)
def test_training_commands_run(command: list[str], labelled_root: Path, coco_root: Path, tmp_path: Path) -> None:
    root = coco_root if "experiment=coco_seg" in command else labelled_root
    root = labelled_root / "images" if "experiment=photos" in command else root
    filled = [argument.replace("data.root=DIR", f"data.root={root}") for argument in command]
    filled = [argument for argument in filled if not argument.startswith("paths.output=")]
    filled += ["model.neck.channels=16"] if "experiment=photos" in command else []  # few images have few pixels
    train(composed(tmp_path, *filled, *(TINY if "experiment=demo" in command else ["debug=tiny"])))
    assert (tmp_path / "scores.json").is_file()


def test_every_data_set_is_described() -> None:
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^\| `(\w+)` \|", page, re.M))
    configs = {path.stem for path in (ROOT / "conf" / "data").glob("*.yaml")}
    assert described == configs - {"loading", "as_trained", "none"}


def test_several_gpus_are_one_word(tmp_path: Path) -> None:
    commands = [command for command in arguments("src.train") if "trainer=ddp" in command]
    assert len(commands) == 2
    for command in commands:
        trainer = composed(tmp_path, *command).trainer
        assert (trainer.strategy, trainer.accelerator, trainer.devices) == ("ddp", "gpu", "auto")
        assert [each["_target_"] for each in trainer.plugins] == [
            "src.training.whole_files.WholeFiles",
            "src.training.sync_batchnorm.SyncBatchNorm",
        ]


def test_every_job_of_the_sweep_composes_and_the_last_one_runs(tmp_path: Path) -> None:
    (command,) = [one[1:] for one in arguments("src.train") if one[:2] == ["-m", "experiment=demo"]]
    choices = [[f"{name}={value}" for value in values.split(",")] for name, values in (a.split("=") for a in command)]
    jobs = list(product(*choices))
    assert len(jobs) >= 4
    configs = [composed(tmp_path, *job, *TINY, "task.region_start=0.0") for job in jobs]
    found = [(config.model.grid_size, config.task.loss_weights.region) for config in configs]
    assert found == [(None, 0), (None, 0.1), (7, 0), (7, 0.1)]
    train(configs[-1])
    assert (tmp_path / "scores.json").is_file()


@pytest.mark.slow
def test_printing_the_config_shows_the_papers_settings() -> None:
    (command,) = [command for command in arguments("src.train") if "--cfg" in command]
    experiment = ["experiment=coco_seg" if argument.startswith("experiment=") else argument for argument in command]
    result = subprocess.run(
        [sys.executable, "-m", "src.train", *experiment], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    for line in ("base_lr: 0.05", "batch_size: 256", "max_epochs: 10", "num_categories: 27", "weights: IMAGENET1K_V1"):
        assert line in result.stdout


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a tiny run leaves, where the README has a made-up path."""
    output = tmp_path_factory.mktemp("run")
    train(composed(output, *TINY_EPOCHS, "trainer.max_epochs=1"))
    return str(output / "checkpoints" / "last.ckpt")


@pytest.mark.parametrize("command", arguments("src.evaluate"), ids=" ".join)
def test_evaluation_commands_run(command: list[str], checkpoint: str, tmp_path: Path) -> None:
    assert any(PLACE in argument for argument in command)
    evaluate(composed(tmp_path, *(argument.replace(PLACE, checkpoint) for argument in command), name="evaluate"))
    assert (tmp_path / "scores.json").is_file()


@pytest.mark.parametrize("page", ["README.md", "docs/predicting.md"])
def test_python_code_runs(page: str, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines of a page, with a checkpoint and a photograph where it has made-up paths."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.S)
    assert PLACE in blocks[0]
    monkeypatch.chdir(tmp_path)
    noise_image(40, 30).save("photo.jpg")
    tiny = ", ".join(f'"{value}"' for value in (*TINY_EPOCHS[1:], "protocol.resamples=10"))
    for code in blocks:
        names: dict[str, Any] = {}
        exec(code.replace(PLACE, checkpoint).replace('"experiment=demo"', f'"experiment=demo", {tiny}'), names)
        if "clusters" in names:
            assert names["clusters"].shape == (30, 40)
    assert (page == "README.md") != (tmp_path / "outputs" / "first" / "scores.json").is_file()
