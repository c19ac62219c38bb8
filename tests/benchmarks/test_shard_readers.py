"""`benchmarks/shards.py` on a few images."""

from pathlib import Path

import pytest

from benchmarks import shards
from benchmarks.generated import write_images


def test_every_reader_reads_all_images(capsys: pytest.CaptureFixture[str]) -> None:
    shards.main(["--images", "12", "--per-shard", "5", "--rounds", "1"])
    said = capsys.readouterr().out
    assert said.count("| plain files |") == said.count("| tar with an index (`data=shards`) |") == 3
    assert "12 JPEG files of 500 x 375, 5 in a shard" in said


def test_both_readers_give_the_same_bytes_in_a_random_order(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 9, (40, 30))
    files, indexed = list(shards.readers(tmp_path, 4).values())[:2]
    first, second = list(files()), list(indexed())
    assert sorted(first) == sorted(second)
    assert first != second
