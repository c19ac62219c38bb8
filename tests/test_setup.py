"""What a newcomer meets first: the package's description, the pinned versions, the Makefile."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]


def direct_requirements() -> list[Requirement]:
    lines = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    return [requirement for requirement in map(Requirement, lines) if requirement.name != PROJECT["name"]]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    split = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pair) == 2 for pair in split), "constraints.txt holds lines other than name==version"
    return {canonicalize_name(name): version for name, version in split}


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    outer = {"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS"}  # `make test` must not talk to the make tested here
    env = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]


def test_constraints_pin_every_direct_dependency_within_its_bounds() -> None:
    pinned = pins()
    wrong = [
        f"{requirement}: {pinned.get(canonicalize_name(requirement.name), 'not pinned')}"
        for requirement in direct_requirements()
        if not requirement.specifier.contains(pinned.get(canonicalize_name(requirement.name), "0.dev0"))
    ]
    assert wrong == []


def test_direct_dependencies_have_both_bounds() -> None:
    bounds = {str(r): {specifier.operator for specifier in r.specifier} for r in direct_requirements()}
    assert [name for name, operators in bounds.items() if operators != {">=", "<"}] == []


def test_bare_make_describes_every_target() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {"setup", "demo", "test", "check", "format", "clean"} <= set(targets)
    answer = make()
    assert answer.returncode == 0, answer.stderr
    described = dict(re.findall(r"^ +make (\w+) +(\S.*)$", answer.stdout, flags=re.MULTILINE))
    assert sorted(described) == sorted(targets)


def test_make_names_the_python_it_cannot_use(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "old python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.8.2"\nexit 1\n', encoding="utf-8")
    old.chmod(0o755)
    answer = make("-C", str(tmp_path), "setup", f"PYTHON={old}")
    assert answer.returncode != 0
    assert "needs Python 3.11 or newer, found Python 3.8.2" in answer.stderr
    assert not (tmp_path / ".venv").exists()


def test_packages_are_src_and_below_and_none_is_forgotten() -> None:
    from setuptools import find_packages

    packages = find_packages(str(ROOT), include=["src", "src.*"])
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "src").rglob("*.py")}
    assert sorted(packages) == sorted(".".join(folder.parts) for folder in folders), "is an __init__.py missing?"
    config = PYPROJECT["tool"]["setuptools"]
    assert config["packages"] == sorted([*packages, "src.conf"])
    assert config["package-dir"] == {"src.conf": "conf"}


def test_types_of_every_room_are_checked() -> None:
    rooms = [room for room in ("src", "scripts", "benchmarks") if any((ROOT / room).glob("**/*.py"))]
    assert sorted(PYPROJECT["tool"]["mypy"]["files"]) == sorted(rooms)
