"""Which run belongs into which row of a table, and in what runs of one row differ."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from src.checkpoints.provenance import WITHOUT_EFFECT
from src.overrides import flat
from src.results.runs import Run
from src.results.tables.published import Row, Table

# Beside the values without effect: what is scored within a run besides it, how often it is, and the model once more.
NOT_TOLD = (*WITHOUT_EFFECT, "floors", "trainer.check_val_every_n_epoch", "task.network")


class Line(NamedTuple):
    """A row of the result: one run for each seed, alike in all else; none where there is no run.

    Attributes:
        row: of the table.
        setting: in what its runs differ from those of other lines, in words.
        runs: one for each seed.
        shared: what its runs were made with, as text, but for the parts of the config that are a row's own.
    """

    row: Row
    setting: str
    runs: Sequence[Run]
    shared: str = ""


def unfinished(folder: Path) -> list[str]:
    """A remark on runs below a folder that have left no scores: a sweep goes on without those that fail."""
    started = sorted(path.parent for path in folder.rglob(".hydra"))
    without = [str(path) for path in started if not (path / "scores.json").exists()]
    return [f"Failed, stopped or still running, without scores.json: {', '.join(without)}."] if without else []


def sections(table: Table, runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs by the data they were trained on, if that makes another table; else all of them under "".

    The name is that of the data's folder, or of its class where there is none; with its path if two are called alike.
    """
    if not table.by_data:
        return {"": list(runs)}
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        target, root = str(run.values.get("data._target_", "absent")), run.values.get("data.root")
        found.setdefault((target.rpartition(".")[2], str(root or "")), []).append(run)
    names = [Path(root).name if root else target for target, root in found]
    return {
        name if names.count(name) == 1 else f"{name} ({target}, {root})": members
        for name, ((target, root), members) in zip(names, found.items(), strict=True)
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
    left_out = [*identifying, *NOT_TOLD]
    return {
        name: value
        for name, value in {**run.values, **sources}.items()
        if name.rpartition(".")[2] != "seed" and not below(name, left_out)
    }


def below(name: str, places: Iterable[str]) -> bool:
    """Whether a dotted name is one of some places, or below one."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def differences(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each setting by those entries in which they are not all alike; one setting needs no words."""
    names = sorted({name for setting in settings for name in setting})
    uneven = [name for name in names if len({json.dumps(one.get(name, "absent")) for one in settings}) > 1]
    return [", ".join(f"{name}={json.dumps(one.get(name, 'absent'))}" for name in uneven) for one in settings]


def departing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each setting by those entries that it does not share with most of them; by those it lacks if there are none."""
    names = sorted({name for setting in settings for name in setting})
    told = [{name: f"{name}={json.dumps(one.get(name, 'absent'))}" for name in names} for one in settings]
    times = Counter(entry for entries in told for entry in entries.values())
    words = []
    for one, entries in zip(settings, told, strict=True):
        special = {name: entry for name, entry in entries.items() if 2 * times[entry] <= len(settings)}
        words.append(", ".join([entry for name, entry in special.items() if name in one] or special.values()))
    return words


def by_setting(runs: Iterable[Run]) -> list[tuple[str, list[Run]]]:
    """Runs that are alike in all but the seed, the last one of each seed, with words for what is special about them."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(json.dumps(setting_of(run, ()), sort_keys=True), []).append(run)
    words = departing([json.loads(setting) for setting in groups])
    return [(text, by_seed(members)) for text, members in zip(words, groups.values(), strict=True)]


class Group(NamedTuple):
    """The runs of a row that are alike in all but the seed; several of a seed are the same run again."""

    shared: Mapping[str, Any]
    own: Mapping[str, Any]
    runs: list[Run]


def collect(table: Table, runs: Sequence[Run]) -> tuple[list[Line], list[str]]:
    """Sort runs into the rows of a table.

    Runs that differ in more than the seed get lines of their own; of runs that differ in nothing the last is taken.

    Returns:
        lines: every row of the table in its order, one line for each setting of its runs, or one without runs.
        remarks: what is to be known of the runs, and every run that is on no line.
    """
    groups: dict[str, dict[str, Group]] = {row.name: {} for row in table.rows}
    repeated: list[str] = []
    strangers: dict[str, list[str]] = {}
    for run in {run.folder.resolve(): run for run in runs}.values():
        row = min((row for row in table.rows if row.beside is None), key=lambda row: len(departures(run, row)))
        if amiss := departures(run, row):
            strangers.setdefault(f"row {row.name}, but {', '.join(amiss)}", []).append(str(run.folder))
            continue
        setting = setting_of(run, row.values)
        own = {name: value for name, value in setting.items() if below(name, table.own)}
        shared = {name: value for name, value in setting.items() if name not in own}
        group = groups[row.name].setdefault(json.dumps(setting, sort_keys=True), Group(shared, own, []))
        repeated += [
            f"{former.folder} is left out: {run.folder} is the same run again, with {agreement(former, run)} scores."
            for former in by_seed(group.runs)
            if former.values["seed"] == run.values["seed"]
        ]
        group.runs.append(run)
    found = lines_of(groups)
    lines = [line for row in table.rows for line in lines_for(row, found) or [Line(row, "", [])]]
    outside = [f"In no row, nearest to {why}: {', '.join(folders)}." for why, folders in strangers.items()]
    return lines, [*other_places([run for line in lines for run in line.runs]), *repeated, *outside]


def by_seed(runs: Iterable[Run]) -> list[Run]:
    """The last run of each seed."""
    return list({run.values["seed"]: run for run in runs}.values())


def agreement(one: Run, other: Run) -> str:
    """Whether a run that was made again has the same scores, of those that both have: not both may have the floors."""
    first, second = one.document["scores"], other.document["scores"]
    return "the same" if all(first[label] == second[label] for label in first.keys() & second.keys()) else "other"


def lines_of(groups: Mapping[str, Mapping[str, Group]]) -> dict[str, list[tuple[str, Group]]]:
    """The groups of each row, with words for what tells them apart: of all rows, and within a row of its own parts."""
    members = [group for by_setting in groups.values() for group in by_setting.values()]
    shared = iter(differences([group.shared for group in members]))
    own = iter([text for row in groups.values() for text in differences([group.own for group in row.values()])])
    return {
        name: [(", ".join(filter(None, (next(shared), next(own)))), group) for group in by_setting.values()]
        for name, by_setting in groups.items()
    }


def lines_for(row: Row, found: Mapping[str, Sequence[tuple[str, Group]]]) -> list[Line]:
    """The lines of a row; one that is scored within another's runs has those of them, left out or not, that have it."""
    lines = []
    for text, group in found[row.beside or row.name]:
        runs = by_seed(run for run in group.runs if row.label is None or row.label in run.document["scores"])
        lines += [Line(row, text, runs, json.dumps(group.shared, sort_keys=True))] if runs else []
    return lines


def other_places(runs: Sequence[Run]) -> list[str]:
    """A remark if runs were made on several machines or with several versions."""
    told = sorted(set(differences([flat(run.document["environment"]) for run in runs])))
    if len(told) < 2:
        return []
    return [f"Memory and time are not comparable between these machines or versions: {'; '.join(told)}."]
