"""Dependencies that imports do not show: names in strings, attributes that only some tasks have, tests of a class."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONSTRUCTORS = "src/checkpoints/rebuilding.py"  # the literal list of what a checkpoint may be rebuilt from
PROMISED = {"task", "module", "pl_module", "data", "reference"}  # what these offer is declared in src/tasks/base.py
METHODS = ("src.tasks.", "src.baselines.")
ASSEMBLED = ("src/assembly/", "src/monitoring/", "src/training/", "src/checkpoints/", "src/results/")


def names_of_methods(tree: ast.AST) -> set[str]:
    """Names that a module imports from the tasks and the baselines."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(METHODS)
        for alias in node.names
    }


def faults(tree: ast.AST, file: str) -> Iterator[tuple[int, str]]:
    """(line, fault) of everything in a module that depends on what its imports do not show."""
    methods = names_of_methods(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and file != CONSTRUCTORS:
            if re.fullmatch(r"src(\.[a-z_]+)+\.[A-Za-z_]+", node.value):
                yield node.lineno, f"names {node.value} in a string"
        elif isinstance(node, ast.Attribute) and node.attr == "datamodule":
            yield node.lineno, "reaches for the data of the trainer: a task gets it in `prepare`"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            arguments = [each.id for each in ast.walk(node) if isinstance(each, ast.Name)]
            if node.func.id == "hasattr":
                yield node.lineno, "asks hasattr: declare the attribute"
            elif node.func.id == "getattr" and PROMISED & {*arguments[1:2]}:
                yield node.lineno, "asks getattr of a task or its data: declare the attribute in src/tasks/base.py"
            elif node.func.id == "isinstance" and methods & {*arguments[2:]} and file.startswith(ASSEMBLED):
                yield node.lineno, "asks for the class of a task: declare what it needs in src/tasks/base.py"


def hidden_arrows(root: Path) -> list[str]:
    """Every fault below root/src, by file and line."""
    found = []
    for path in sorted((root / "src").rglob("*.py")):
        file = path.relative_to(root).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=file)
        found += [f"{file}:{line}: {fault}" for line, fault in faults(tree, file)]
    return found


def test_nothing_depends_on_what_imports_do_not_show() -> None:
    assert hidden_arrows(ROOT) == []


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        ("checkpoints/loading.py", 'def f(t):\n    return t == "src.tasks.segment.Segment"', ":2: names src.tasks"),
        ("results/tables.py", 'KINDS = {"src.baselines.iic.IIC": "IIC"}', "names src.baselines.iic.IIC in a string"),
        ("tasks/pairs.py", "def f(self):\n    return self.trainer.datamodule", "reaches for the data"),
        ("baselines/one.py", "def f(trainer):\n    trainer.datamodule.train", "reaches for the data"),
        ("assembly/evaluate.py", 'def f(data):\n    return hasattr(data, "labels")', "asks hasattr"),
        ("monitoring/one.py", 'def f(pl_module):\n    return getattr(pl_module, "seconds", 0)', "asks getattr"),
        (
            "assembly/evaluate.py",
            "from src.tasks.pretrain import Pretrain\ndef f(task):\n    return isinstance(task, Pretrain)",
            ":3: asks for the class of a task",
        ),
    ],
)
def test_a_hidden_arrow_is_refused(file: str, text: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "src" / file
    path.parent.mkdir(parents=True)
    path.write_text(text + "\n")
    (found,) = hidden_arrows(tmp_path)
    assert fault in found


def test_what_a_file_may_do_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "src" / "tasks").mkdir(parents=True)
    (tmp_path / "src" / "tasks" / "pixels.py").write_text(
        "from src.tasks.base import Task\n"
        'HELP = "python -m src.export ckpt_path=FILE"\n'
        "def f(other, backbone):\n"
        '    return isinstance(other, Task), getattr(backbone, "output_fmt", None)\n'
    )
    assert hidden_arrows(tmp_path) == []
