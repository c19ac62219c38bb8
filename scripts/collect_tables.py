"""Finished runs as a table: mean and spread over seeds, or a table of the paper with the published numbers beside ours.

After `python -m src.train -m experiment=camvid_seg seed=0,1,2`, what these runs scored:
    python scripts/collect_tables.py multirun/camvid_seg/TIME
After `python -m src.train -m experiment=coco_pretrain +sweep=table4a seed=0,1,2`, Table 4a, also into tables/:
    python scripts/collect_tables.py --table table4a --output tables multirun/coco_pretrain
A run belongs to a row by its config, whichever sweep it comes from: give all folders that may hold some.
"""

import argparse
import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple, cast

from omegaconf import OmegaConf

from src.provenance import WITHOUT_EFFECT
from src.scores import COLUMNS

PUBLISHED = Path(__file__).parent / "published"
PEAK, SPEED, TOTAL = "peak GB", "ms per image", "total s"
DIGITS = {PEAK: 3, TOTAL: 0}
LEGEND = (
    "Ours: scores in percent, mean ± standard deviation over seeds; peak memory in 10^9 bytes, of the GPU, or without "
    "one of the process, which in a sweep keeps some from earlier jobs; training time per image seen. "
    "not run: no finished run; -: some run of the row has none."
)


class Run(NamedTuple):
    """A finished run: its folder, its `scores.json`, and its config by dotted names."""

    folder: Path
    document: Mapping[str, Any]
    values: Mapping[str, Any]


class Row(NamedTuple):
    """A row of a published table: the values that every run of it has, and the number of each column."""

    name: str
    values: Mapping[str, Any]
    published: Sequence[float]


class Table(NamedTuple):
    """A published table; `scores` are our columns, each a row of `scores.json` and a score in it."""

    name: str
    title: str
    label: str
    columns: Sequence[str]
    scores: Mapping[str, Sequence[str]]
    rows: Sequence[Row]
    notes: Sequence[str]


class Line(NamedTuple):
    """A row of the result: one run for each seed, alike in all else; none where there is no run."""

    row: Row
    setting: str
    runs: Sequence[Run]


def flat(config: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """A config by dotted names; `place` stands before them."""
    entries: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{place}{key}"
        entries |= flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return entries


def read_runs(folder: Path) -> list[Run]:
    """Every training run that has finished below a folder, in order of their paths."""
    files = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("scores.json"))}
    trained = {path: document for path, document in files.items() if "steps" in document["cost"]}
    return [Run(path.parent, document, flat(document["config"])) for path, document in trained.items()]


def read_tables(folder: Path) -> dict[str, Table]:
    """The tables of every YAML file in a folder, by their names."""
    tables = {}
    for path in sorted(folder.glob("*.yaml")):
        file = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(path)))
        for name, entry in file["tables"].items():
            rows = [Row(row["name"], entry["shared"] | row["config"], row["published"]) for row in entry["rows"]]
            notes = [*entry["notes"], *file["notes"]]
            tables[name] = Table(name, entry["title"], entry["label"], entry["columns"], file["scores"], rows, notes)
    return tables


def unfinished(folder: Path) -> list[str]:
    """A remark on runs below a folder that have left no scores: a sweep goes on without those that fail."""
    started = sorted(path.parent for path in folder.rglob(".hydra"))
    without = [str(path) for path in started if not (path / "scores.json").exists()]
    return [f"Failed, stopped or still running, without scores.json: {', '.join(without)}."] if without else []


def moments(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean and standard deviation over runs; None if some run does not have the value, or for the deviation of one."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None, None
    return mean(known), stdev(known) if len(known) > 1 else None


def spread(values: Sequence[float | None], digits: int = 1) -> str:
    """Mean and standard deviation of one cell over runs; a score that some run does not have is a dash."""
    middle, deviation = moments(values)
    if middle is None:
        return "-"
    return f"{middle:.{digits}f}" if deviation is None else f"{middle:.{digits}f} ± {deviation:.{digits}f}"


def score_table(runs: Sequence[Run]) -> str:
    """One row per score set (before training, floors, after training), percent; cost below."""
    documents = [run.document for run in runs]
    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---" * (1 + len(COLUMNS)) + "|"]
    for label in documents[0]["scores"]:
        cells = [spread([document["scores"][label].get(column) for document in documents]) for column in COLUMNS]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    seconds = [document["cost"]["total_seconds"] for document in documents]
    cost = f"seeds {', '.join(seeds(runs))}; {steps(runs)} steps; {min(seconds):.0f} to {max(seconds):.0f} s per run"
    return "\n".join([*lines, "", cost])


def steps(runs: Iterable[Run]) -> str:
    """The different numbers of steps of some runs."""
    return ", ".join(str(step) for step in sorted({run.document["cost"]["steps"] for run in runs}))


def seeds(runs: Iterable[Run]) -> list[str]:
    """The seed of each run."""
    return [str(run.values["seed"]) for run in runs]


def measured(runs: Sequence[Run], scores: Mapping[str, Sequence[str]]) -> dict[str, list[float | None]]:
    """Our columns, each with the value of every run; None for what a run has not recorded."""
    columns: dict[str, list[float | None]] = {
        heading: [run.document["scores"].get(label, {}).get(score) for run in runs]
        for heading, (label, score) in scores.items()
    }
    costs = [run.document["cost"] for run in runs]
    images = [run.values["data.batch_size"] * cost["steps"] for run, cost in zip(runs, costs, strict=True)]
    seconds = zip((cost["train_seconds"] for cost in costs), images, strict=True)
    return columns | {
        PEAK: [cost["peak_memory"] / 1e9 if cost.get("peak_memory") else None for cost in costs],
        SPEED: [1000 * spent / count if count else None for spent, count in seconds],
        TOTAL: [cost["total_seconds"] for cost in costs],
    }


def departures(run: Run, row: Row) -> list[str]:
    """Where a run's config is not that of a row, in words; `any` is what says nothing about a row."""
    return [
        f"{name} is {json.dumps(run.values.get(name, 'absent'))} instead of {json.dumps(value)}"
        for name, value in row.values.items()
        if value != "any" and (name not in run.values or run.values[name] != value)
    ]


def setting_of(run: Run, identifying: Iterable[str]) -> dict[str, Any]:
    """What a run was made with, config and files it started from, beside what tells its row, and its seed.

    The seed is any entry of that name: those of parts of the config follow the run's own.
    """
    origin = run.document.get("origin") or {}
    sources = flat({kind: origin.get(kind) for kind in ("weights", "encoder_weights")}, "origin.")
    left_out = {*identifying, *WITHOUT_EFFECT, "task.network"}  # which is the model once more
    return {
        name: value
        for name, value in {**run.values, **sources}.items()
        if name.rpartition(".")[2] != "seed"
        and not any(name == other or name.startswith(f"{other}.") for other in left_out)
    }


def differences(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each setting by those entries in which they are not all alike; one setting needs no words."""
    names = sorted({name for setting in settings for name in setting})
    uneven = [name for name in names if len({json.dumps(one.get(name, "absent")) for one in settings}) > 1]
    return [", ".join(f"{name}={json.dumps(one.get(name, 'absent'))}" for name in uneven) for one in settings]


def collect(table: Table, runs: Sequence[Run]) -> tuple[list[Line], list[str]]:
    """Sort runs into the rows of a table.

    Runs that differ in more than the seed get lines of their own; of runs that differ in nothing the last is taken.

    Returns:
        lines: every row of the table in its order, one line for each setting of its runs, or one without runs.
        remarks: what is to be known of the runs, and every run that is on no line.
    """
    identifying = {name for row in table.rows for name in row.values}
    settings: dict[str, dict[str, Any]] = {}
    groups: dict[tuple[str, str], dict[int, Run]] = {}
    repeated: list[str] = []
    strangers: dict[str, list[str]] = {}
    for run in {run.folder.resolve(): run for run in runs}.values():
        row = min(table.rows, key=lambda row: len(departures(run, row)))
        if amiss := departures(run, row):
            strangers.setdefault(f"row {row.name}, but {', '.join(amiss)}", []).append(str(run.folder))
            continue
        setting = setting_of(run, identifying)
        key = json.dumps(setting, sort_keys=True)
        settings[key] = setting
        by_seed = groups.setdefault((row.name, key), {})
        if (former := by_seed.get(run.values["seed"])) is not None:
            agree = "the same" if former.document["scores"] == run.document["scores"] else "other"
            repeated.append(f"{former.folder} is left out: {run.folder} is the same run again, with {agree} scores.")
        by_seed[run.values["seed"]] = run
    told = dict(zip(settings, differences(list(settings.values())), strict=True))
    lines = []
    for row in table.rows:
        members = {text: list(groups.get((row.name, key), {}).values()) for key, text in told.items()}
        lines += [Line(row, text, found) for text, found in members.items() if found] or [Line(row, "", [])]
    outside = [f"In no row, nearest to {why}: {', '.join(folders)}." for why, folders in strangers.items()]
    return lines, [*other_places([run for line in lines for run in line.runs]), *repeated, *outside]


def other_places(runs: Sequence[Run]) -> list[str]:
    """A remark if runs were made on several machines or with several versions."""
    told = sorted(set(differences([flat(run.document["environment"]) for run in runs])))
    if len(told) < 2:
        return []
    return [f"Memory and time are not comparable between these machines or versions: {'; '.join(told)}."]


def markdown(table: Table, lines: Sequence[Line], remarks: Sequence[str]) -> str:
    """The table with its published columns marked so, and below it what has to be said of the numbers."""
    several = any(line.setting for line in lines)
    ours = [*measured([], table.scores), "steps", "seeds"]
    headings = [table.label, *["setting"] * several, *ours, *(f"published {name}" for name in table.columns)]
    written = [f"## {table.name}: {table.title}", "", f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    for row, setting, runs in lines:
        cells = [row.name, *[setting or "-"] * several]
        if runs:
            cells += [spread(values, DIGITS.get(name, 1)) for name, values in measured(runs, table.scores).items()]
            cells += [steps(runs), f"{len(runs)}: {', '.join(seeds(runs))}"]
        else:
            cells += ["not run"] * len(ours)
        written.append(f"| {' | '.join([*cells, *map(str, row.published)])} |")
    return "\n".join([*written, "", *(f"- {said}" for said in [LEGEND, *table.notes, *remarks]), ""])


def comma_separated(table: Table, lines: Sequence[Line]) -> str:
    """The same numbers with six digits, NA where there is none; `setting` says what differs, if anything does."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ours = [f"{name} {part}" for name in measured([], table.scores) for part in ("mean", "sd")]
    published = [f"published {name}" for name in table.columns]
    writer.writerow(["table", "row", "setting", "runs", "seeds", "steps", *ours, *published])
    for row, setting, runs in lines:
        numbers = [number for values in measured(runs, table.scores).values() for number in moments(values)]
        cells = ["NA" if number is None else f"{number:.6g}" for number in numbers]
        told = [setting, len(runs), " ".join(seeds(runs)) or "NA", steps(runs) or "NA"]
        writer.writerow([table.name, row.name, *told, *cells, *row.published])
    return text.getvalue()


def main() -> None:
    tables = read_tables(PUBLISHED)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+", help="of a multirun, or any folder above finished runs")
    parser.add_argument("--table", choices=tables, help="a table of the paper to sort the runs into")
    parser.add_argument("--output", type=Path, help="a folder for TABLE.md and TABLE.csv")
    arguments = parser.parse_args()
    if arguments.output and not arguments.table:
        parser.error("--output is for a table of the paper: add --table")
    found = {folder: read_runs(folder) for folder in arguments.folder}
    for folder, runs in found.items():
        if not runs:
            parser.error(f"no scores.json below {folder}: give the folder of finished runs")
        if not arguments.table and len({tuple(run.document["scores"]) for run in runs}) > 1:
            parser.error(f"the runs below {folder} have different rows: give the folder of one experiment")
    if not arguments.table:
        print("\n".join(score_table(runs) for runs in found.values()))
        return
    table = tables[arguments.table]
    lines, remarks = collect(table, [run for runs in found.values() for run in runs])
    text = markdown(table, lines, [*remarks, *(remark for folder in found for remark in unfinished(folder))])
    print(text, end="")
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / f"{table.name}.md").write_text(text, encoding="utf-8")
        (arguments.output / f"{table.name}.csv").write_text(comma_separated(table, lines), encoding="utf-8")


if __name__ == "__main__":
    main()
