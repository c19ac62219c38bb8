"""The arrows between the rooms of src/, read from the imports and what stands for one, and the size of all files."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = {"train", "evaluate", "predict", "export", "report", "app"}
# Who may import whom. A module at the top of src/ is a leaf unless it is a command; a new package needs a line of its
# own. No line contains "data" but its own, none contains "command": both are reached through Hydra's `_target_`.
BELOW_MODELS = {"leaf", "checkpoints", "monitoring", "training"}
ARROWS = {
    "leaf": {"leaf"},
    "checkpoints": {"checkpoints", "leaf"},
    "monitoring": {"monitoring", "leaf"},
    "training": {"training", "checkpoints", "leaf"},
    "images": {"images", "leaf"},
    "drawing": {"drawing", "leaf"},
    "models": {"models", "checkpoints", "leaf"},
    "evaluation": {"evaluation", "models", "leaf"},
    "data": {"data", "images", "leaf"},  # and the protocols of src.evaluation, see EXCEPTIONS
    "results": {"results", "evaluation", "drawing", "leaf"},
    "tasks": {"tasks", "evaluation", "drawing", "models", *BELOW_MODELS},
    "baselines": {"baselines", "tasks", "evaluation", "models", *BELOW_MODELS},
    "prediction": {"prediction", "tasks", "evaluation", "images", "drawing", "models", *BELOW_MODELS},
    "formats": {"formats", "models", "checkpoints", "leaf"},
    "assembly": {
        *("assembly", "prediction", "formats", "tasks", "evaluation", "results", "images", "drawing", "models"),
        *BELOW_MODELS,
    },
    "api": {"assembly", "prediction"},
    "command": {"assembly", "leaf"},  # and assembly inside of functions only, see `test_help_needs_no_torch`
    "src": set(),  # src/__init__.py runs before every other module, so it imports none of them
}
EXCEPTIONS = {
    ("data", "src.evaluation.protocol"),
    ("data", "src.evaluation.detection_protocol"),
    ("results", "src.checkpoints.provenance"),
}
OUTSIDE = {"tests", "scripts", "benchmarks", "conf"}
MAX_LINES = 300
SHAPELESS_NAMES = {"utils", "util", "misc", "helpers", "common", "components"}


def modules_below(root: Path) -> dict[str, Path]:
    """Dotted name -> file, of every module of root/src. A package's name stands for its __init__.py."""
    modules = {}
    for path in sorted((root / "src").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def imported_names(path: Path, module: str) -> Iterator[tuple[int, str]]:
    """(line, absolute dotted name) of every import in the file, those inside functions too."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*start, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)


def kind_of(module: str, modules: dict[str, Path]) -> str:
    if module == "src":
        return "src"
    room = module.split(".")[1]
    if room in COMMANDS:
        return "command"
    file = modules.get(f"src.{room}")
    is_top_level_module = file is not None and file.name != "__init__.py"
    return "leaf" if is_top_level_module and room not in ARROWS else room


def violations(root: Path) -> list[str]:
    """Every import, and what stands for one, below root/src that goes against the arrows, and a cycle, in words."""
    modules = modules_below(root)
    graph: dict[str, set[str]] = {module: set() for module in modules}
    found = []
    for module, path in modules.items():
        kind = kind_of(module, modules)
        if kind not in ARROWS:
            found.append(f"{path.relative_to(root)}: the package '{kind}' has no line in ARROWS")
            continue
        for line, name in imported_names(path, module):
            where = f"{path.relative_to(root)}:{line}"
            top = name.split(".")[0]
            if top in OUTSIDE:
                found.append(f"{where}: {kind} imports {name}, which is not part of the package")
            if top != "src":
                continue
            target = name  # shorten `src.losses.similarity` to the module that holds it
            while target not in modules and "." in target:
                target = target.rpartition(".")[0]
            if target == module:
                continue
            graph[module].add(target)
            target_kind = kind_of(target, modules)
            if target_kind not in ARROWS[kind] and (kind, target) not in EXCEPTIONS:
                found.append(f"{where}: {kind} imports {target} ({target_kind})")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append("cycle: " + " <- ".join(error.args[1]))
    return found


def test_imports_follow_the_arrows() -> None:
    assert modules_below(ROOT), "found no modules below src/"
    assert violations(ROOT) == []


def project_files() -> list[Path]:
    """Modules, scripts, tests and configs, as paths below the repository."""
    rooms = {"src": "*.py", "scripts": "*.py", "benchmarks": "*.py", "tests": "*.py", "conf": "*.yaml"}
    found = {room: sorted((ROOT / room).rglob(pattern)) for room, pattern in rooms.items()}
    assert all(found.values())
    return [path.relative_to(ROOT) for paths in found.values() for path in paths]


def test_files_are_short() -> None:
    lines = {str(path): len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in project_files()}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def test_files_have_telling_names() -> None:
    assert [str(path) for path in project_files() if SHAPELESS_NAMES & {*path.with_suffix("").parts}] == []


def build(root: Path, files: dict[str, str]) -> Path:
    """A made-up project: every module that the cases below mention, empty unless `files` says what is in it."""
    empty = ["__init__", "losses", "geometry", "metrics", "train", "evaluate", "evaluation/protocol"]
    rooms = sorted(set(ARROWS) - {"leaf", "command", "src"})
    empty += [f"{room}/{name}" for room in rooms for name in ("__init__", "one")]
    for name, text in ({f"{name}.py": "" for name in empty} | files).items():
        path = root / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_checker_accepts_what_is_allowed(tmp_path: Path) -> None:
    root = build(
        tmp_path,
        {
            "metrics.py": "import torch\nfrom src import losses\nfrom src.geometry import grid\n",
            "models/two.py": "from .one import Encoder\nfrom ..losses import similarity\nfrom . import one\n",
            "data/two.py": "import src.geometry\nfrom src.data.one import Folder\n",
            "tasks/one.py": "from src.models.one import Encoder\nfrom src import losses, metrics\n",
            "baselines/one.py": "from src.tasks.one import Segment\nfrom src.models import one\n",
            "monitoring/one.py": "from src.metrics import match\n",
            "training/one.py": "from src.checkpoints.one import read\n",
            "data/one.py": "from src.evaluation.protocol import EvaluationProtocol\n",
            "train.py": "import hydra\nfrom src.assembly.one import train\n",
            "assembly/one.py": "from src.monitoring.one import Monitor\nfrom src.tasks.one import load\n",
        },
    )
    assert violations(root) == []


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("losses.py", "from src.models.one import Encoder", "losses.py:1: leaf imports src.models.one (models)"),
        ("losses.py", "from src import data", "leaf imports src.data (data)"),
        ("losses.py", "from . import tasks", "leaf imports src.tasks (tasks)"),
        ("losses.py", "def f():\n    import src.train", "losses.py:2: leaf imports src.train (command)"),
        ("losses.py", "from src.monitoring.one import Monitor", "leaf imports src.monitoring.one (monitoring)"),
        ("models/one.py", "from ..data.one import Folder", "models imports src.data.one (data)"),
        ("models/one.py", "from src.tasks.one import load", "models imports src.tasks.one (tasks)"),
        ("models/__init__.py", "from ..tasks import one", "models imports src.tasks.one (tasks)"),
        ("data/one.py", "import src.models.one as m", "data imports src.models.one (models)"),
        ("tasks/one.py", "from src.data.one import Folder", "tasks imports src.data.one (data)"),
        ("monitoring/one.py", "from src.training.one import x", "monitoring imports src.training.one (training)"),
        ("checkpoints/one.py", "from src.models.one import x", "checkpoints imports src.models.one (models)"),
        ("models/one.py", "from src.evaluation.one import x", "models imports src.evaluation.one (evaluation)"),
        ("evaluation/one.py", "from src.tasks.one import x", "evaluation imports src.tasks.one (tasks)"),
        ("data/one.py", "from src.evaluation.one import x", "data imports src.evaluation.one (evaluation)"),
        ("results/one.py", "from src.tasks.one import x", "results imports src.tasks.one (tasks)"),
        ("tasks/one.py", "from src.results.one import x", "tasks imports src.results.one (results)"),
        ("tasks/one.py", "import src.baselines.one", "tasks imports src.baselines.one (baselines)"),
        ("baselines/one.py", "from src.data import one", "baselines imports src.data.one (data)"),
        ("monitoring/one.py", "from src.models import one", "monitoring imports src.models.one (models)"),
        ("assembly/one.py", "from src.data.one import x", "assembly imports src.data.one (data)"),
        ("train.py", "from src.tasks.one import x", "command imports src.tasks.one (tasks)"),
        ("train.py", "from src.data.one import Folder", "command imports src.data.one (data)"),
        ("evaluate.py", "from src.train import main", "command imports src.train (command)"),
        ("__init__.py", "from src.tasks.one import load", "src imports src.tasks.one (tasks)"),
        ("losses.py", "from tests.naive import loop", "leaf imports tests.naive.loop, which is not part"),
        ("attic/__init__.py", "", "the package 'attic' has no line in ARROWS"),
    ],
)
def test_checker_catches_a_forbidden_import(tmp_path: Path, file: str, text: str, message: str) -> None:
    found = violations(build(tmp_path, {file: text + "\n"}))
    assert len(found) == 1
    assert message in found[0]


def test_checker_catches_a_cycle(tmp_path: Path) -> None:
    files = {"losses.py": "from src.geometry import grid\n", "geometry.py": "import src.losses\n"}
    (found,) = violations(build(tmp_path, files))
    assert found.startswith("cycle: ")
    assert "src.geometry" in found
    assert "src.losses" in found


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "evaluate", "export", "report", "__main__"])
def test_help_needs_no_torch(command: str) -> None:
    """What a command does is imported when it begins, not before: help and misspelt names then answer at once."""
    code = (
        f"import sys, src.{command}; print([name for name in ('torch', 'lightning', 'wandb') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def imports_between_tests(root: Path) -> list[str]:
    """Every import of a test module by another module of the tests, in words."""
    found = []
    for path in sorted((root / "tests").rglob("*.py")):
        own = ".".join(path.relative_to(root).with_suffix("").parts)
        found += [
            f"{path.relative_to(root)}:{line}: imports {name}"
            for line, name in imported_names(path, own)
            if any(part.startswith("test_") for part in name.split(".") if name.split(".")[0] == "tests")
        ]
    return found


def test_no_test_module_imports_another() -> None:
    """What two of them need is in a module of its own, such as `tests/factories.py`."""
    assert imports_between_tests(ROOT) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from tests.data.test_folder import tree", ["imports tests.data.test_folder.tree"]),
        ("from tests.data import test_folder", ["imports tests.data.test_folder"]),
        ("from . import test_folder", ["imports tests.data.test_folder"]),
        ("def f():\n    import tests.data.test_folder as m", ["imports tests.data.test_folder"]),
        ("from tests.factories import images\nfrom src.test_bench import x\nimport tests.naive", []),
    ],
)
def test_checker_catches_a_test_that_imports_another(tmp_path: Path, text: str, expected: list[str]) -> None:
    (tmp_path / "tests" / "data").mkdir(parents=True)
    (tmp_path / "tests" / "data" / "test_two.py").write_text(text + "\n")
    found = imports_between_tests(tmp_path)
    assert [line.partition(": ")[2] for line in found] == expected
