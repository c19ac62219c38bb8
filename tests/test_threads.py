"""What is set before torch is imported, and what the cost estimate says about it."""

import os
from pathlib import Path

import pytest

from src import threads
from src.threads import container_cores, set_threads, usable_cores, waiting


@pytest.mark.parametrize(
    ("written", "cores"),
    [
        ("max 100000", None),
        ("250000 100000", 2),
        ("50000 100000\n", 1),
        ("", None),
        (None, None),
        ("two cores", None),
        ("200000 0", None),
        ("-1 100000", None),
        ("200000", None),
        ("é 100000", None),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_container(
    version: int, written: str | None, cores: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In version 2 of cgroups, quota and period stand in one file, in version 1 in two."""
    files = {1: (tmp_path / "quota", tmp_path / "period"), 2: (tmp_path / "max",)}
    for number in (1, 2):
        monkeypatch.setattr(threads, f"CGROUP_{number}", files[number])
    if written is not None:
        parts = [written] if version == 2 else written.partition(" ")[::2]
        for file, part in zip(files[version], parts, strict=True):
            file.write_text(part, encoding="utf-8")
    assert container_cores() == cores


@pytest.mark.parametrize(
    ("limit", "given", "expected"),
    [
        (None, {}, {"OMP_WAIT_POLICY": "passive"}),
        (4, {}, {"OMP_WAIT_POLICY": "passive"}),
        (3, {}, {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "3"}),
        (3, {"OMP_NUM_THREADS": "7", "OMP_WAIT_POLICY": "active"}, {}),
    ],
)
def test_what_is_set(
    limit: int | None, given: dict[str, str], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "container_cores", lambda: limit)
    monkeypatch.setattr(threads, "usable_cores", lambda: 4)
    environment = dict(given)
    set_threads(environment)
    assert environment == given | expected


def test_cores_are_those_that_the_process_may_use() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def test_what_the_cost_estimate_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 4)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert waiting() == "of 4 cores; OMP_WAIT_POLICY is passive"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert waiting() == "of 4 cores; OMP_WAIT_POLICY is not set, passive is better beside a busy process"
