"""Table 2: what a start is worth on several tasks. A row is a start; a group of columns is another fine-tuning."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, cast

from omegaconf import OmegaConf

from src.results.runs import Run
from src.results.tables.origins import STARTS, by_hash, counted_once, hash_before, hash_of
from src.results.tables.published import Row, read_row
from src.results.tables.sorting import by_data, differences, other_scoring, setting_of
from src.results.tables.starts import Start, encoder_of, start_of

# What a row says itself, and where its data lie: runs that differ only in these are averaged.
IDENTIFYING = (*STARTS, "model.encoder._target_", "model.encoder.name", "data.root")


class Group(NamedTuple):
    """A group of columns.

    Attributes:
        name: such as `COCO`.
        row: its values are those that all of its runs have.
        images: how many images the paper scores; None if the paper has no such group.
        scores: headings, each with a row of `scores.json` and the name of a score in it.
        data: the name of the folder with the data of its runs; None for any.
    """

    name: str
    row: Row
    images: int | None
    scores: Mapping[str, Sequence[str]]
    data: str | None = None


class Transfer(NamedTuple):
    """A table of starts.

    Attributes:
        name, title, first, notes: see `src.results.tables.published.Table`.
        groups: groups of columns; a run belongs to the first that it fits.
        rows: the starts of the paper, with the published numbers of the groups that the paper has, one after another.
        costs: headings of the costs of the pre-training, keys of `src.results.tables.cells.COSTS`.
    """

    name: str
    title: str
    first: Sequence[str]
    notes: Sequence[str]
    groups: Sequence[Group]
    rows: Sequence[Row]
    costs: Sequence[str] = ()

    @property
    def is_published(self) -> bool:
        """Whether the paper has such a table."""
        return any(number is not None for row in self.rows for number in row.published)


class Line(NamedTuple):
    """A line of the resulting table.

    Attributes:
        start: name of the start.
        encoder: the encoder; "" without a run.
        setting: how its runs differ from those of other lines, and what the pre-training was, in words.
        runs: the runs of each group by its name: of all seeds, and of several pre-training runs that differ in theirs.
        before: these pre-training runs, each once.
    """

    start: str
    encoder: str
    setting: str
    runs: Mapping[str, Sequence[Run]]
    before: Sequence[Run] = ()


class Section(NamedTuple):
    """The lines on the paper's data, `data` "", or those of one group on other data."""

    data: str
    groups: Sequence[Group]
    lines: Sequence[Line]


def read_transfers(folder: Path) -> dict[str, Transfer]:
    """The tables of starts in every YAML file of a folder, by their names."""
    found = {}
    for path in sorted(folder.glob("*.yaml")):
        file = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(path)))
        for name, entry in file.get("transfer", {}).items():
            groups = [read_group(*item) for item in entry["groups"].items()]
            columns = sum(len(group.scores) for group in groups if group.images is not None)
            rows = [read_row(row, {}, columns) for row in entry["rows"]]
            costs = entry.get("costs", [])
            found[name] = Transfer(name, entry["title"], entry["first"], entry["notes"], groups, rows, costs)
    return found


def read_group(name: str, entry: Mapping[str, Any]) -> Group:
    """A group of a file; a score that is no pair is one of the row `after training`."""
    scores = {
        heading: score if isinstance(score, list) else ["after training", score]
        for heading, score in entry["scores"].items()
    }
    return Group(name, Row(name, entry["values"], []), entry.get("images"), scores, entry.get("data"))


def collect_starts(table: Transfer, runs: Sequence[Run]) -> tuple[list[Section], list[str]]:
    """Sort runs into the sections, lines and groups of a table.

    Returns:
        sections: first the paper's data, then one for each group and data set that the paper does not have.
        remarks: runs that are on no line, and runs of which a later one is a repetition.
    """
    unique = list({run.folder.resolve(): run for run in runs}.values())
    pretrained, used = by_hash(unique), {hash_before(run) for run in unique}
    places: dict[tuple[str, str], list[Run]] = {}
    strangers = []
    for run in unique:
        group = group_of(table, run)
        if group is not None:
            places.setdefault((group.name, "" if group.images else "other"), []).append(run)
        elif hash_of(run) not in used:
            strangers.append(str(run.folder))
    remarks = [f"In no column, and the start of no other run: {', '.join(strangers)}."] if strangers else []
    paper = {name: members for (name, other), members in places.items() if not other}
    groups = [group for group in table.groups if group.images is not None]
    lines, repeated = lines_of(table, paper, pretrained)
    there = {line.start for line in lines}
    absent = [Line(row.name, "", "", {}) for row in table.rows if row.name not in there]
    sections = [Section("", groups, in_order(table, [*lines, *absent]))]
    for group in table.groups:
        for data, members in by_data(places.get((group.name, "other"), [])).items():
            lines, more = lines_of(table, {group.name: members}, pretrained)
            sections.append(Section(data, [group], in_order(table, lines)))
            repeated += more
    return sections, [*remarks, *repeated]


def group_of(table: Transfer, run: Run) -> Group | None:
    """The group that a run belongs to; None for a run of another task or on other data."""
    data = Path(str(run.values.get("data.root"))).name
    fitting = (group for group in table.groups if group.data in (None, data))
    return next((group for group in fitting if not other_scoring(run, group.row, group.images)), None)


def lines_of(
    table: Transfer, members: Mapping[str, Sequence[Run]], pretrained: Mapping[str, Run]
) -> tuple[list[Line], list[str]]:
    """The lines of one section, and remarks on repeated runs.

    Args:
        table: the table.
        members: the runs of each group by its name.
        pretrained: runs by the hash of their config.
    """
    cells: dict[tuple[str, str, str], dict[str, dict[str, list[Run]]]] = {}
    for name, runs in members.items():
        for run, words in zip(runs, told(runs), strict=True):
            start = start_of(run, pretrained, table.rows)
            key = (start.name, encoder_of(run), pretraining(start))
            cells.setdefault(key, {}).setdefault(name, {}).setdefault(words, []).append(run)
    lines, repeated = [], list[str]()
    for (start_name, encoder, before), groups in cells.items():
        for chosen in side_by_side(groups):
            said = dict.fromkeys([before, *(cell.setting for cell in chosen)])
            kept: dict[str, Sequence[Run]] = {}
            for cell in chosen:
                kept[cell.group], remarks = counted_once(cell.runs)
                repeated += remarks
            starts = {hash_before(run) or "": None for runs in kept.values() for run in runs}
            known = [pretrained[each] for each in starts if each in pretrained]
            lines.append(Line(start_name, encoder, ", ".join(filter(None, said)), kept, known))
    return lines, repeated


class Cell(NamedTuple):
    """The runs of a group that have the same setting, and this setting in words."""

    group: str
    setting: str
    runs: Sequence[Run]


def side_by_side(groups: Mapping[str, Mapping[str, Sequence[Run]]]) -> list[list[Cell]]:
    """The cells of each line: the first setting of every group, then the second of every group that has two, and so on.

    Args:
        groups: name of a group -> setting in words -> its runs.
    """
    columns = [[Cell(name, words, runs) for words, runs in settings.items()] for name, settings in groups.items()]
    return [[cell for cell in row if cell is not None] for row in zip_longest(*columns)]


def told(runs: Sequence[Run]) -> list[str]:
    """For each run, in words, how its setting differs from that of the other runs with the same encoder."""
    words: dict[int, str] = {}
    for encoder in {encoder_of(run) for run in runs}:
        alike = [run for run in runs if encoder_of(run) == encoder]
        settings = differences([setting_of(run, IDENTIFYING) for run in alike])
        words |= {id(run): text for run, text in zip(alike, settings, strict=True)}
    return [words[id(run)] for run in runs]


def pretraining(start: Start) -> str:
    """The pre-training behind a start in words, which only runs share that differ in their seed; "" if unknown."""
    if start.before is None:
        return ""
    values, cost = start.before.values, start.before.document["cost"]
    data = Path(str(values["data.root"])).name if values.get("data.root") else values.get("data._target_", "no data")
    setting = json.dumps(setting_of(start.before, ("data.root",)), sort_keys=True)
    digest = sha256(setting.encode()).hexdigest()[:4]
    stage = f", weights of {start.stage}" if start.stage else ""
    return f"pre-trained on {data} for {cost['steps']} steps (setting {digest}){stage}"


def in_order(table: Transfer, lines: Sequence[Line]) -> list[Line]:
    """Lines in the order of the table's rows, those of other starts at the end."""
    order = [row.name for row in table.rows]
    return sorted(lines, key=lambda line: order.index(line.start) if line.start in order else len(order))
