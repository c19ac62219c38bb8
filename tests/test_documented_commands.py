"""Every command of README and docs/ composes, or its script or target exists. tests/test_readme.py runs some."""

import os
import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig

from src.__main__ import COMMANDS
from tests.composing import CONF

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ACCELERATOR = "benchmarks/accelerator.sh"
PROGRAMS = ("python", "make", "densesiam", "torchrun", ACCELERATOR)
OTHERS = ("pip", ".")  # lines of shell code that begin so are about the installation
TARGETS = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)


def shell_lines(page: Path) -> Iterator[str]:
    """The lines of the blocks of shell code of a page."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
        lines = block.splitlines()
        if language == "sh" or any(line.startswith(PROGRAMS) for line in lines):
            yield from (line for line in lines if line.strip() and not line.startswith("#"))


def inline(page: Path) -> Iterator[str]:
    """The code in the sentences of a page that begins with the name of a program and goes on."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    codes = (" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text))
    yield from (code for code in codes if code.startswith(tuple(f"{program} " for program in PROGRAMS)))


def words(line: str) -> list[str]:
    """The words of a command, without variables before it and without dots that stand for more words."""
    parts = [word for word in shlex.split(line, comments=True) if word != "..."]
    while "=" in parts[0]:
        parts.pop(0)
    return parts


FOUND: dict[str, list[str]] = {}  # command -> names of the pages that have it
for PAGE in PAGES:
    for LINE in (*shell_lines(PAGE), *inline(PAGE)):
        if (PARTS := words(LINE)) and PARTS[0] not in OTHERS:
            FOUND.setdefault(shlex.join(PARTS), []).append(PAGE.name)


def first_values(arguments: list[str]) -> list[str]:
    """The values of a sweep's first job, without what is for Hydra itself or for the command line."""
    after_option = {following for option, following in pairwise(arguments) if option == "--cfg"}
    stray = [each for each in arguments if "=" not in each and not each.startswith("-") and each not in after_option]
    assert not stray, f"not part of a command: {stray}"
    kept = [each for each in arguments if "=" in each and not each.startswith("hydra.")]
    kept = [each for each in kept if not re.search(r"=\w+\(", each)]  # a range of values, which only a sweeper reads
    return [each if set("[{(") & set(each) else each.split(",")[0] for each in kept]


@cache
def config_of(name: str, *arguments: str) -> DictConfig:
    """The config that `python -m src.NAME` composes, for the first job of a sweep."""
    if not (CONF / f"{name}.yaml").is_file():
        pytest.skip(f"there is no conf/{name}.yaml yet")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, first_values(list(arguments)))


def check_module(module: str, arguments: list[str]) -> None:
    """Compose the config of `python -m src.NAME ...`; others are pytest and benchmarks, whose files must exist."""
    if module == "pytest":
        assert [each for each in arguments if each.startswith("tests/") and not (ROOT / each).exists()] == []
    elif module.startswith("benchmarks."):
        check_script(f"{module.replace('.', '/')}.py", arguments)
    elif module != "http.server":
        assert module.startswith("src."), module
        config_of(module.removeprefix("src."), *arguments)


def check_script(path: str, arguments: list[str]) -> None:
    """A script exists and knows the options of the command."""
    code = (ROOT / path).read_text(encoding="utf-8")
    if path.startswith("scripts/prepare_"):
        code += (ROOT / "src/data/preparation/command.py").read_text(encoding="utf-8")
    assert [each for each in arguments if each.startswith("--") and f'"{each}"' not in code] == []


def check(parts: list[str]) -> None:
    """Check a command of any of the known programs."""
    program, arguments = parts[0], parts[1:]
    assert program in PROGRAMS
    if program == "make":
        assert {each for each in arguments if "=" not in each} <= set(TARGETS)
    elif program == ACCELERATOR:
        assert os.access(ROOT / program, os.X_OK)
        check_script(program.replace(".sh", ".py"), arguments)
    elif program == "densesiam":
        assert arguments[0] in COMMANDS
        check_module(f"src.{arguments[0]}", arguments[1:])
    elif program == "python" and arguments[0] != "-m":
        check_script(arguments[0], arguments[1:])
    else:
        start = arguments.index("-m")  # torchrun has options of its own before it
        check_module(arguments[start + 1], arguments[start + 2 :])


@pytest.mark.parametrize("command", FOUND, ids=str)
def test_every_command_composes_or_exists(command: str) -> None:
    check(shlex.split(command))


def test_commands_of_all_kinds_and_pages_are_found() -> None:
    assert len(FOUND) >= 80
    assert {command.split()[0] for command in FOUND} == set(PROGRAMS)
    assert len({page for pages in FOUND.values() for page in pages}) >= 12


@pytest.mark.parametrize(
    ("page", "group", "classes"),
    [
        ("data.md", "data", {"CocoStuff", "Cityscapes", "Potsdam", "Folder", "LabelledFolder", "Shards"}),
        ("pretraining.md", "task", {"Pretrain", "DenseProbe", "Semantic", "Detect"}),
        ("experiments.md", "task", {"Segment", "Pretrain", "PiCIE", "IIC"}),
    ],
)
def test_the_training_commands_of_a_page_are_about_its_subject(page: str, group: str, classes: set[str]) -> None:
    runs = [shlex.split(command) for command, pages in FOUND.items() if page in pages]
    configs = [config_of("train", *run[3:]) for run in runs if run[:3] == ["python", "-m", "src.train"] and run[3:]]
    assert len(configs) >= 5
    assert {config[group]["_target_"].rpartition(".")[2] for config in configs} == classes


@pytest.mark.parametrize(
    ("page", "parts"),
    [
        ("data.md", {"scripts/prepare_coco.py"}),
        ("pretraining.md", {"scripts/collect_tables.py", "benchmarks.pretraining", "output=encoder.pth"}),
        ("experiments.md", {"scripts/collect_tables.py", "scripts/rank_label_free.py"}),
    ],
)
def test_pages_keep_the_commands_of_their_subject(page: str, parts: set[str]) -> None:
    assert parts <= {part for command, pages in FOUND.items() if page in pages for part in shlex.split(command)}


@pytest.mark.parametrize(
    "command",
    [
        "python -m src.train experiment=demos",
        "python -m src.train data.batchsize=3",
        "python -m src.train experiment=demo (the demo)",
        "python -m src.export input=x.ckpt",
        "torchrun --standalone --nproc_per_node=8 -m src.train -m experiment=coco_pretrain +sweep=table9",
        "python scripts/prepare_kitti.py DIR",
        "python scripts/collect_tables.py --tabel table3 multirun",
        "make documentation",
        "densesiam tarin",
        "conda install densesiam",
    ],
)
def test_wrong_commands_would_be_found(command: str) -> None:
    with pytest.raises((AssertionError, HydraException, FileNotFoundError)):
        check(words(command))


def test_only_the_first_value_of_a_sweep_is_composed() -> None:
    assert first_values(words("-m seed=0,1,2 'compare=[A,B]' hydra.sweep.dir=X --cfg job")) == [
        "seed=0",
        "compare=[A,B]",
    ]
