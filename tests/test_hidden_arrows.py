"""What imports do not show: which files of src/ depend on the inside of a library."""

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
INTERNALS = "src/training/lightning_internals.py"
# Of a trainer, without an underscore, but not documented either: each file that reads one has a case of its own in
# tests/training/test_lightning_internals.py.
UNDOCUMENTED = {"batch_progress", "convert_input", "epoch_loop", "epoch_progress", "fit_loop"}
TESTED = {("src/data/datamodule.py", "fit_loop"), ("src/tasks/steps.py", "convert_input")}


@cache
def private_names() -> frozenset[str]:
    """Attributes and methods whose names begin with one underscore, of all classes of Lightning."""
    spec = find_spec("lightning")
    assert spec is not None
    assert spec.origin is not None
    found: set[str] = set()
    for room in ("pytorch", "fabric"):
        for path in (Path(spec.origin).parent / room).rglob("*.py"):
            found |= {*re.findall(r"(?:self\.|def )(_[a-z]\w*)", path.read_text(encoding="utf-8"))}
    return frozenset(found)


def inside_lightning(root: Path) -> list[str]:
    """Each use of what Lightning does not document below root/src, by file and line, that no contract test covers."""
    found = []
    for path in sorted((root / "src").rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if name == INTERNALS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=name)):
            used = [node.attr] if isinstance(node, ast.Attribute) else []
            if isinstance(node, ast.ClassDef):
                used = [each.name for each in node.body if isinstance(each, ast.FunctionDef)]
            for each in used:
                if each in private_names() or (each in UNDOCUMENTED and (name, each) not in TESTED):
                    found.append(f"{name}:{node.lineno}: {each} belongs in {INTERNALS}")
    return found


def test_one_file_knows_the_inside_of_lightning() -> None:
    assert {"_signal_connector", "_should_accumulate", "_last_global_step_saved"} <= private_names()
    assert inside_lightning(ROOT) == []


@pytest.mark.parametrize(
    "text",
    [
        "trainer._signal_connector.received_sigterm = True",
        "def f(self, t):\n    return t.loops._should_accumulate()",
        "class A(ModelCheckpoint):\n    def save(self):\n        self._save_topk_checkpoint(1, 2)",
        "class A(Writer):\n    def _check_log_dir_exists(self):\n        pass",
        "def f(trainer):\n    trainer.fit_loop.epoch_progress",
    ],
)
def test_the_inside_of_lightning_is_refused_elsewhere(text: str, tmp_path: Path) -> None:
    for name in ("training/lightning_internals.py", "training/other.py"):
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).write_text(text)
    found = inside_lightning(tmp_path)
    assert found
    assert all(each.startswith("src/training/other.py:") for each in found)


def test_own_private_names_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "own.py").write_text(
        "class A:\n    def f(self):\n        return self._crop, self.pair._asdict()"
    )
    assert inside_lightning(tmp_path) == []
