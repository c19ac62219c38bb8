"""Tables of finished runs: mean and standard deviation over seeds, or a table of the paper with our numbers added.

After `python -m src.train -m experiment=camvid_seg model.grid_size=4,8 seed=0,1,2`, a row for each setting:
    python scripts/collect_tables.py multirun/camvid_seg/TIME
After `python -m src.train -m experiment=coco_pretrain +sweep=table4a seed=0,1,2`, Table 4a, also written to tables/:
    python scripts/collect_tables.py --table table4a --output tables multirun/coco_pretrain
After `python -m src.train -m +sweep=table3 experiment=camvid_seg data.root=DIR seed=0,1,2`, Table 3 on this data set:
    python scripts/collect_tables.py --table table3 multirun/camvid_seg
After fine-tuning from several starts, Table 2, with the folders of the pre-training runs too, which name its rows:
    python scripts/collect_tables.py --table table2 multirun/voc_faster_rcnn multirun/cityscapes_fcn outputs
After the sweeps of docs/pretraining.md, "A small Table 2", its rows with the costs of the pre-training:
    python scripts/collect_tables.py --table small_table2 --output tables multirun
The config of a run decides to which row it belongs, not its sweep: give all folders that may hold runs of the table.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from src.results.runs import Run, read_runs
from src.results.scores import score_columns
from src.results.tables.cells import seeds, spread, steps
from src.results.tables.joining import collect_joined
from src.results.tables.published import Table, read_tables
from src.results.tables.sorting import by_setting, sections, unfinished
from src.results.tables.transfer import collect_starts, read_transfers
from src.results.tables.transfer_writing import csv_starts, markdown_starts
from src.results.tables.writing import comma_separated, markdown

PUBLISHED = Path(__file__).parent / "published"
AS_MOST = "as most of these"


def score_table(settings: Sequence[tuple[str, Sequence[Run]]]) -> str:
    """A Markdown table of scores in percent, with one row per setting and label, and the costs below.

    A label is, for example, `before training`, `after training` or a reference method.

    Args:
        settings: the runs of each setting, see `by_setting`; with one setting, the table has no column for it.
    """
    several = len(settings) > 1
    columns = score_columns(row for _, runs in settings for run in runs for row in run.document["scores"].values())
    head = f"{'| setting ' * several}| | {' | '.join(columns)} |"
    lines, costs = [head, "|---" * (several + 1 + len(columns)) + "|"], []
    for words, runs in settings:
        documents = [run.document for run in runs]
        for label in dict.fromkeys(label for document in documents for label in document["scores"]):
            rows = [document["scores"][label] for document in documents if label in document["scores"]]
            cells = [spread([row.get(column) for row in rows]) for column in columns]
            lines.append(f"| {' | '.join([*[words or AS_MOST] * several, label, *cells])} |")
        seconds = [document["cost"]["total_seconds"] for document in documents]
        cost = (
            f"seeds {', '.join(seeds(runs))}; {steps(runs)} steps; {min(seconds):.0f} to {max(seconds):.0f} s per run"
        )
        costs.append(f"- {words or AS_MOST}: {cost}" if several else cost)
    return "\n".join([*lines, "", *costs])


def main() -> None:
    tables, transfers = read_tables(PUBLISHED), read_transfers(PUBLISHED)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+", help="folder of a multirun, or any folder above finished runs")
    parser.add_argument("--table", choices=[*tables, *transfers], help="table of the paper to fill with the runs")
    parser.add_argument("--output", type=Path, help="folder in which to write TABLE.md and TABLE.csv")
    arguments = parser.parse_args()
    if arguments.output and not arguments.table:
        parser.error("--output is for a table of the paper: add --table")
    found = {folder: read_runs(folder) for folder in arguments.folder}
    for folder, runs in found.items():
        if not runs:
            parser.error(f"no scores.json below {folder}: give the folder of finished runs")
    if not arguments.table:
        print(score_table(by_setting(run for runs in found.values() for run in runs)))
        return
    every = [run for runs in found.values() for run in runs]
    missing = [remark for folder in found for remark in unfinished(folder)]
    if arguments.table in transfers:
        transfer = transfers[arguments.table]
        starts, remarks = collect_starts(transfer, every)
        text = markdown_starts(transfer, starts, [*remarks, *missing])
        numbers = csv_starts(transfer, starts)
    else:
        text, numbers = filled(tables[arguments.table], every, missing)
    print(text, end="")
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / f"{arguments.table}.md").write_text(text, encoding="utf-8")
        (arguments.output / f"{arguments.table}.csv").write_text(numbers, encoding="utf-8")


def filled(table: Table, runs: Sequence[Run], missing: Sequence[str]) -> tuple[str, str]:
    """A table of the paper with the numbers of runs, as Markdown and as comma-separated values."""
    sorted_runs = {data: collect_joined(table, members) for data, members in sections(table, runs).items()}
    written = [markdown(table, lines, [*remarks, *missing], data) for data, (lines, remarks) in sorted_runs.items()]
    text = "\n".join([*(["\n".join([*table.first, ""])] if table.first else []), *written])
    return text, comma_separated(table, {data: lines for data, (lines, _) in sorted_runs.items()})


if __name__ == "__main__":
    main()
