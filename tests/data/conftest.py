"""What several tests of data share."""

from pathlib import Path

import pytest

from tests.data.sharded import packed, tree


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of seven images."""
    return tree(tmp_path / "images")


@pytest.fixture
def root(folder: Path, tmp_path: Path) -> Path:
    """The same seven images in three shards."""
    return packed(folder, tmp_path / "shards")
