"""Mean and spread over the runs below a folder, as a Markdown table.

After `python -m src.train -m experiment=camvid_seg seed=0,1,2`:
    python scripts/collect_tables.py multirun/camvid_seg/TIME
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from src.scores import COLUMNS


def read_runs(folder: Path) -> list[dict[str, Any]]:
    """Every training run's `scores.json` below a folder, in order of their paths."""
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("scores.json"))]
    return [document for document in documents if "after training" in document["scores"]]


def spread(values: Sequence[float | None]) -> str:
    """Mean and standard deviation of one cell over runs; a score that some run does not have is a dash."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "-"
    return f"{mean(known):.1f} ± {stdev(known):.1f}" if len(known) > 1 else f"{known[0]:.1f}"


def table(runs: Sequence[dict[str, Any]]) -> str:
    """One row per score set (before training, floors, after training), percent; cost below."""
    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---" * (1 + len(COLUMNS)) + "|"]
    for label in runs[0]["scores"]:
        cells = [spread([run["scores"][label].get(column) for run in runs]) for column in COLUMNS]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    seeds = ", ".join(str(run["config"]["seed"]) for run in runs)
    steps = ", ".join(str(step) for step in sorted({run["cost"]["steps"] for run in runs}))
    seconds = [run["cost"]["total_seconds"] for run in runs]
    cost = f"seeds {seeds}; {steps} steps; {min(seconds):.0f} to {max(seconds):.0f} s per run"
    return "\n".join([*lines, "", cost])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+", help="of a multirun, or any folder above finished runs")
    for folder in parser.parse_args().folder:
        runs = read_runs(folder)
        if not runs:
            parser.error(f"no scores.json below {folder}: give the folder of finished runs")
        if len({tuple(run["scores"]) for run in runs}) > 1:
            parser.error(f"the runs below {folder} have different rows: give the folder of one experiment")
        print(table(runs))


if __name__ == "__main__":
    main()
