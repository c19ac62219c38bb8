"""Draw one column of the logs of several runs as curves over the steps, into an SVG.

    python scripts/draw_curves.py loss/total curves.svg "FCN=outputs/small_fcn/TIME" "others=outputs/small_fcn/TIME2"

A column is a heading of csv/metrics.csv in the folder of a run.
"""

import argparse
from pathlib import Path

from src.results.pages.charts import curves
from src.results.pages.series import Chart, Line, finite
from src.training.csv_rows import read_rows


def line_of(name: str, folder: Path, column: str) -> Line:
    """The curve of a run: its name, the steps, and the values of the column.

    Raises:
        SystemExit: the run has no such column.
    """
    _, rows = read_rows(folder / "csv" / "metrics.csv")
    points = [(finite(row.get("step")), finite(row.get(column))) for row in rows]
    known = [(step, value) for step, value in points if step is not None and value is not None]
    if not known:
        columns = ", ".join(sorted({key for row in rows for key in row}))
        raise SystemExit(f"{folder} has no values of {column}: expected one of {columns}")
    return Line(name, [step for step, _ in known], [value for _, value in known])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("column", help="heading of metrics.csv, such as loss/total")
    parser.add_argument("output", type=Path, help="the SVG to write")
    parser.add_argument("runs", nargs="+", metavar="NAME=FOLDER", help="a name for the legend and the folder of a run")
    arguments = parser.parse_args()
    named = [run.partition("=")[::2] for run in arguments.runs]
    lines = [line_of(name, Path(folder), arguments.column) for name, folder in named]
    drawn = str(curves(Chart(arguments.column, lines), "step"))
    arguments.output.write_text(drawn + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
