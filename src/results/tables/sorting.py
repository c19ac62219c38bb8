"""Assignment of runs to the rows of a table, and the differences between runs of one row."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from src.checkpoints.provenance import WITHOUT_EFFECT
from src.overrides import flat
from src.results.runs import Run
from src.results.tables.published import Row, Table

# Besides the values without effect: reference methods, the interval of validation, and a second copy of the model.
NOT_TOLD = (*WITHOUT_EFFECT, "references", "reference_clusters", "trainer.check_val_every_n_epoch", "task.network")


class Line(NamedTuple):
    """A line of the resulting table: runs that differ only in their seed.

    Attributes:
        row: the row of the paper's table.
        setting: how its runs differ from those of other lines, in words.
        runs: one run for each seed; empty if there is no run, or only fine-tuning runs.
        shared: settings of its runs as JSON, without the parts of the config in `Table.own`.
        tuned: fine-tuning runs that started from one of its runs, see `Table.joined`; they differ only in their seeds.
    """

    row: Row
    setting: str
    runs: Sequence[Run]
    shared: str = ""
    tuned: Sequence[Run] = ()


def unfinished(folder: Path) -> list[str]:
    """A remark that lists runs without scores below a folder, because a sweep continues when one of its runs fails."""
    started = sorted(path.parent for path in folder.rglob(".hydra"))
    without = [str(path) for path in started if not (path / "scores.json").exists()]
    return [f"Failed, stopped or still running, without scores.json: {', '.join(without)}."] if without else []


def sections(table: Table, runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs by their training data, if each data set gets a table of its own; otherwise all runs under ""."""
    return by_data(runs) if table.by_data else {"": list(runs)}


def by_data(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """The runs by their training data.

    The data is named after its folder, or after its class if it has no folder. Where two have the same name, class and
    path are added.
    """
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
    """The values of a run's config that differ from those of a row, in words. The value `any` allows every value."""
    return [
        f"{name} is {json.dumps(run.values.get(name, 'absent'))} instead of {json.dumps(value)}"
        for name, value in row.values.items()
        if value != "any" and (name not in run.values or run.values[name] != value)
    ]


def other_scoring(run: Run, row: Row, images: int | None) -> list[str]:
    """How the scores of a run were made otherwise than those of a row, in words; empty if they are comparable.

    Args:
        run: the run.
        row: the row, with the config values of its runs.
        images: how many images its runs score; None for any number.
    """
    found = (run.document.get("protocol") or {}).get("images")
    counted = [] if images in (None, found) else [f"{found} images are scored instead of {images}"]
    return [*departures(run, row), *counted]


def setting_of(run: Run, identifying: Iterable[str]) -> dict[str, Any]:
    """The config of a run and the files that it started from, without seeds and values that have no effect.

    Args:
        run: the run.
        identifying: names of config values that are left out too, because they identify the row.
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
    """Whether a dotted name is one of the places, or below one of them."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def differences(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each setting, in words, the entries that are not the same in all settings."""
    names = sorted({name for setting in settings for name in setting})
    uneven = [name for name in names if len({json.dumps(one.get(name, "absent")) for one in settings}) > 1]
    return [", ".join(f"{name}={json.dumps(one.get(name, 'absent'))}" for name in uneven) for one in settings]


def departing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each setting, in words, the entries that at most half of the settings have.

    If a setting has no such entry, the entries that it lacks are given.
    """
    names = sorted({name for setting in settings for name in setting})
    told = [{name: f"{name}={json.dumps(one.get(name, 'absent'))}" for name in names} for one in settings]
    times = Counter(entry for entries in told for entry in entries.values())
    words = []
    for one, entries in zip(settings, told, strict=True):
        special = {name: entry for name, entry in entries.items() if 2 * times[entry] <= len(settings)}
        words.append(", ".join([entry for name, entry in special.items() if name in one] or special.values()))
    return words


def by_setting(runs: Iterable[Run]) -> list[tuple[str, list[Run]]]:
    """Groups of runs that differ only in their seed, each with a description of its special settings.

    Of several runs with the same seed, the last is kept.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(json.dumps(setting_of(run, ()), sort_keys=True), []).append(run)
    words = departing([json.loads(setting) for setting in groups])
    return [(text, by_seed(members)) for text, members in zip(words, groups.values(), strict=True)]


class Group(NamedTuple):
    """The runs of a row that differ only in their seed. Runs with the same seed are repetitions."""

    shared: Mapping[str, Any]
    own: Mapping[str, Any]
    runs: list[Run]


def collect(table: Table, runs: Sequence[Run]) -> tuple[list[Line], list[str]]:
    """Sort runs into the rows of a table.

    Runs that differ in more than the seed get lines of their own. Of runs that do not differ at all, the last is used.

    Returns:
        lines: for each row of the table, in order, a line for each setting of its runs, or one line without runs.
        remarks: remarks on the runs; every run that is on no line is named.
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
    """The text "the same" if two runs have equal scores, otherwise "other".

    Only rows that both have are compared, because one may lack the reference methods.
    """
    first, second = one.document["scores"], other.document["scores"]
    return "the same" if all(first[label] == second[label] for label in first.keys() & second.keys()) else "other"


def lines_of(groups: Mapping[str, Mapping[str, Group]]) -> dict[str, list[tuple[str, Group]]]:
    """The groups of each row, with their differences in words: from all rows, and within the row for `Table.own`."""
    members = [group for by_setting in groups.values() for group in by_setting.values()]
    shared = iter(differences([group.shared for group in members]))
    own = iter([text for row in groups.values() for text in differences([group.own for group in row.values()])])
    return {
        name: [(", ".join(filter(None, (next(shared), next(own)))), group) for group in by_setting.values()]
        for name, by_setting in groups.items()
    }


def lines_for(row: Row, found: Mapping[str, Sequence[tuple[str, Group]]]) -> list[Line]:
    """The lines of a row.

    A row with `beside` gets those runs of the other row that have its scores. Runs that were repeated count here too,
    because a repetition may lack these scores.
    """
    lines = []
    for text, group in found[row.beside or row.name]:
        runs = by_seed(run for run in group.runs if row.label is None or row.label in run.document["scores"])
        lines += [Line(row, text, runs, json.dumps(group.shared, sort_keys=True))] if runs else []
    return lines


def other_places(runs: Sequence[Run]) -> list[str]:
    """A remark if the runs were made on different machines or with different versions."""
    told = sorted(set(differences([flat(run.document["environment"]) for run in runs])))
    if len(told) < 2:
        return []
    return [f"Memory and time are not comparable between these machines or versions: {'; '.join(told)}."]
