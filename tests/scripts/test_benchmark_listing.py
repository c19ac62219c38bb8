"""What the listing benchmark measures, and that it cleans up."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import benchmark_listing
from scripts.benchmark_listing import RUNS, Cost, main, make_files, measure, plain_list, table, worker_memory
from src.data.listing import list_images

ROLLUP = """\
55d0c0a0d000-7ffd1b5f3000 ---p 00000000 00:00 0                          [rollup]
Rss:               52000 kB
Pss:               20000 kB
Pss_Dirty:          9000 kB
Shared_Dirty:        100 kB
Private_Clean:      1500 kB
Private_Dirty:      7000 kB
"""


@pytest.fixture(autouse=True)
def small_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_listing, "PER_FOLDER", 10)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark_listing.py", *map(str, arguments)])
    main()


def test_both_lists_hold_all_files_in_one_order(tmp_path: Path) -> None:
    make_files(tmp_path, 25)
    names = [path.relative_to(tmp_path).as_posix() for path in plain_list(tmp_path)]
    assert len(names) == 25
    assert names[0] == "n00000000/n00000000_0.JPEG"
    assert names[-1] == "n00000020/n00000020_24.JPEG"
    assert list(list_images(tmp_path, None)) == plain_list(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads /proc")
@pytest.mark.parametrize("packed", [True, False])
def test_a_worker_that_builds_every_path_is_measured(packed: bool, tmp_path: Path) -> None:
    make_files(tmp_path / "files", 3)
    cost = measure(packed, "fork", tmp_path / "files", tmp_path / "cache", reads=7, workers=1)
    assert cost.index == (sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) if packed else 0)
    assert cost.private > 1e5  # a Python process of its own
    assert cost.proportional > cost.private


def test_memory_of_a_worker() -> None:
    assert worker_memory(ROLLUP) == (8500 * 1024, 20000 * 1024)


def test_table() -> None:
    one = [Cost(0.001, 0, 10e6, 100e6)] * len(RUNS)
    many = [Cost(12.345, 38_000_000, 10e6 + row * 1e6, 120e6) for row in range(len(RUNS))]
    lines = table([(1, one), (1_000_000, many)]).splitlines()
    assert len(lines) == 2 + 2 * len(RUNS)
    assert lines[2] == "| 1 | one Path per file | fork | 0.00 | - | 10.0 | 0.0 | 100.0 |"
    assert lines[-1] == "| 1,000,000 | FileList, later start | forkserver | 12.35 | 38.0 | 14.0 | 4.0 | 120.0 |"


def test_its_files_are_deleted_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(files: int, folder: Path, workers: int) -> Iterator[object]:
        make_files(folder, files)
        raise RuntimeError(f"{len(list(tmp_path.rglob('*.JPEG')))} files made")
        yield

    monkeypatch.setattr(benchmark_listing, "measurements", failing)
    with pytest.raises(RuntimeError, match="12 files made"):
        run(monkeypatch, "--files", 12, "--folder", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_it_refuses(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--files", 0], ["--workers", 0]):
        with pytest.raises(SystemExit):
            run(monkeypatch, *arguments)
        assert "expected at least 1 file and 1 worker" in capsys.readouterr().err
    monkeypatch.setattr(Path, "exists", lambda path: False)
    with pytest.raises(SystemExit):
        run(monkeypatch)
    assert "expected Linux" in capsys.readouterr().err
