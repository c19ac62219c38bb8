"""The tables of docs/data.md that say what happens when data is not as expected."""

import re
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def require_documented(heading: str, rows: Sequence[str]) -> None:
    """Fail unless the table below a heading has exactly these rows; the failure shows them, to be pasted."""
    section = PAGE.read_text(encoding="utf-8").partition(f"### {heading}\n")[2].partition("\n#")[0]
    found = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert found == list(rows), f"the table below '{heading}' should be\n" + "\n".join(rows)


def row(kind: str, *outcomes: str) -> str:
    return f"| {' | '.join([kind, *outcomes])} |"


def quoted(message: object, *folders: Path) -> str:
    """A message as the table has it, without what differs from run to run."""
    text = str(message)
    for folder in folders:
        text = text.replace(str(folder), "DIR")
    text = re.sub(r"\d+ bytes not processed", "N bytes not processed", text)
    text = re.sub(r"\(DataLoader worker .*?(unexpectedly|Killed\.)\)", "(DataLoader worker ...)", text)
    escaped = text.replace("|", "\\|")  # it would end the cell
    return f"`{escaped}`"
