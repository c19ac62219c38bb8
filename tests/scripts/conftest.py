"""What the tests of tables share."""

import sys

import pytest

from scripts.collect_tables import main
from tests.scripts.printing import Script


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Script:
    """The lines that the script prints."""

    def run(*arguments: object) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["collect_tables.py", *map(str, arguments)])
        main()
        return capsys.readouterr().out.splitlines()

    return run
