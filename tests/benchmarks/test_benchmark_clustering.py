"""The benchmark of k-means compares every backend."""

import pytest

from benchmarks.clustering import main


def test_the_command_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.clustering.SIZES", ((300, 4),))
    main(["--rounds", "1"])
    lines = capsys.readouterr().out.splitlines()
    found = [line.split(" | ")[0] for line in lines if ", 4 clusters" in line]
    assert found == 2 * ["| faiss, 4 clusters", "| sklearn, 4 clusters", "| torch, 4 clusters"]
    assert "at most 1: " in lines[4]


def test_a_goal_without_faiss_is_not_dropped_silently(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.clustering.SIZES", ((300, 4),))
    monkeypatch.setattr("benchmarks.clustering.find_spec", lambda name: None)
    main(["--rounds", "1"])
    written = capsys.readouterr().out
    assert "| faiss" not in written
    assert "not measured: faiss is not installed" in written
