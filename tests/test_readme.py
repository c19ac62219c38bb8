"""The commands and the code of the README and of the pages beside it work as they stand there, on small data."""

import re
import shlex
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from src.assembly.evaluate import evaluate
from src.assembly.train import train
from tests.composing import CONF, TINY, TINY_EPOCHS, composed

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
    assert not re.findall(r"@[A-Z]\w*@", README)


def test_links_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))]
    assert len(links) > 20
    assert [(page.name, link) for page, link in links if not (page.parent / link).is_file()] == []


@pytest.mark.parametrize("command", [c for c in arguments("src.train") if is_run(c)], ids=" ".join)
def test_training_commands_run(command: list[str], labelled_root: Path, coco_root: Path, tmp_path: Path) -> None:
    root = coco_root if "experiment=coco_seg" in command else labelled_root
    filled = [argument.replace("data.root=DIR", f"data.root={root}") for argument in command]
    train(composed(tmp_path, *filled, *(TINY if "experiment=demo" in command else ["debug=tiny"])))
    assert (tmp_path / "scores.json").is_file()


def test_the_commands_of_the_data_sets_compose(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    commands = [shlex.split(line)[3:] for line in re.findall(r"^python -m src.train .*$", page, re.M)]
    assert len(commands) >= 6
    chosen = {composed(tmp_path, *command).data["_target_"].rpartition(".")[2] for command in commands}
    assert chosen == {"CocoStuff", "Cityscapes", "Potsdam", "Folder", "LabelledFolder"}
    scripts = re.findall(r"^python (scripts/\w+\.py)", page, re.M)
    assert scripts
    assert all((ROOT / script).is_file() for script in scripts)
    described = set(re.findall(r"^\| `(\w+)` \|", page, re.M))
    configs = {path.stem for path in (ROOT / "conf" / "data").glob("*.yaml")}
    assert described == configs - {"loading", "as_trained", "none"}


def test_the_commands_of_pretraining_compose(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "pretraining.md").read_text(encoding="utf-8")
    assert not re.findall(r"@[A-Z]\w*@", page)
    lines = re.findall(r"^(?:OMP_NUM_THREADS=1 )?python .*$", page, re.M)
    commands = [shlex.split(line, comments=True) for line in lines]
    commands = [command[1:] if "=" in command[0] else command for command in commands]
    runs = [command[3:] for command in commands if command[1:3] == ["-m", "src.train"]]
    assert len(runs) >= 8
    for run in runs:
        choices = [each.split(",")[0] if "[" not in each else each for each in run if each != "-m"]
        config = composed(tmp_path, *(each for each in choices if not each.startswith("hydra.")))
        assert config.task["_target_"] == "src.tasks.pretrain.Pretrain"
    (export,) = [command[3:] for command in commands if command[1:3] == ["-m", "src.export"]]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert compose("export", export).output == "encoder.pth"
    scripts = [command[1] for command in commands if command[1].startswith("scripts/")]
    assert {"scripts/collect_tables.py", "scripts/benchmark.py"} <= set(scripts)
    assert all((ROOT / script).is_file() for script in scripts)


def test_the_commands_of_the_experiments_compose(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    commands = [shlex.split(line, comments=True) for line in re.findall(r"^python .*$", page, re.M)]
    runs = [command[3:] for command in commands if command[1:3] == ["-m", "src.train"]]
    assert len(runs) >= 5
    chosen = set()
    for run in runs:
        first = (each.split(",")[0] for each in run if each != "-m")
        config = composed(
            tmp_path, *(each for each in first if "(" not in each)
        )  # Optuna alone reads a range of values
        chosen.add(config.task["_target_"].rpartition(".")[2])
    assert chosen == {"Segment", "Pretrain", "PiCIE", "IIC"}
    scripts = {command[1] for command in commands if command[1].startswith("scripts/")}
    assert {"scripts/collect_tables.py", "scripts/rank_label_free.py", "scripts/wandb_workspace.py"} <= scripts
    (torchrun,) = re.findall(r"^torchrun .*$", page, re.M)
    assert composed(tmp_path, *shlex.split(torchrun.partition(" -m src.train -m ")[2])).trainer.strategy == "ddp"
    assert all((ROOT / script).is_file() for script in scripts)


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


def test_load_takes_the_checkpoint_of_a_run(checkpoint: str) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    assert PLACE in code
    names: dict[str, torch.nn.Module] = {}
    exec(code.replace(PLACE, checkpoint), names)  # the README's own lines
    assert names["model"](torch.rand(1, 3, 32, 32)).shape == (1, 8, 8, 8)
