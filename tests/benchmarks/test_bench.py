"""`python -m benchmarks`: one process for each subject, and none of them hides the others."""

import sys
import time

import pytest

from benchmarks import __main__ as bench

HANGS = "import subprocess, sys; print('begun'); subprocess.run([sys.executable, '-c', 'while True: pass'])"
STUBS = {
    "good": "print('| a | at most 2: pass |')",
    "slow": "print('| b | at most 1: **short** |')",
    "fails": "print('| c | at most 3: pass |'); raise SystemExit('it is broken')",
    "hangs": HANGS,
}


@pytest.fixture(autouse=True)
def _stubs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SUBJECTS", tuple(STUBS))
    monkeypatch.setattr(bench, "command", lambda subject: [sys.executable, "-c", STUBS[subject]])


def test_goals_and_seconds_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    bench.main(["good", "slow"])
    written = capsys.readouterr().out
    assert written.startswith("## good\n\n| a | at most 2: pass |\n")
    end = written[written.index("1 of 2 goals are met") :].splitlines()
    assert end[1] == "| b | at most 1: **short** |"
    assert end[-1].startswith("seconds: good ")
    assert ", slow " in end[-1]
    assert end[-1].endswith(" together")


def test_a_subject_that_fails_hides_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"not measured completely: fails \(exit code 1\)$"):
        bench.main(["fails", "good"])
    written = capsys.readouterr()
    assert "2 of 2 goals are met" in written.out
    assert "it is broken" in written.err


def test_a_subject_that_hangs_is_stopped_with_its_processes(capsys: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    with pytest.raises(SystemExit, match=r"hangs \(stopped after 1 s\)"):
        bench.main(["hangs", "good", "--limit", "1"])
    assert time.monotonic() - started < 60
    written = capsys.readouterr().out
    assert "## hangs\n\nbegun\n" in written
    assert "1 of 1 goals are met" in written


def test_an_unknown_subject_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["nothing"])
    assert "expected subjects of good, slow, fails, hangs, found nothing" in capsys.readouterr().err
