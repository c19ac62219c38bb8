"""Fine-tuning runs beside the pre-training runs that they started from, in the lines of a table of pre-training."""

from collections.abc import Sequence

from src.results.runs import Run
from src.results.tables.origins import STARTS, by_hash, counted_once, hash_before, stage_of, step_before
from src.results.tables.published import Row, Table
from src.results.tables.sorting import Line, collect, departures, differences, other_scoring, setting_of


def collect_joined(table: Table, runs: Sequence[Run]) -> tuple[list[Line], list[str]]:
    """Sort runs into the rows of a table, see `collect`, with the fine-tuning runs that started from them.

    Returns:
        lines, remarks: see `collect`. Fine-tuning runs from weights that a pre-training run saved before its end are on
            a line of their own, which has no other numbers. Fine-tuning runs of one line that differ in more than the
            seed and the file that they start from are not averaged, but named in a remark; so are repetitions, those
            that were scored otherwise than the published numbers, and those whose pre-training run is on no line.
    """
    tuned = [run for run in runs if table.joined and not departures(run, Row("", table.tuned, []))]
    own = [run for run in runs if all(run is not other for other in tuned)]
    lines, remarks = collect(table, own)
    scored: dict[str, list[Run]] = {}
    for run in tuned:
        scored.setdefault(", ".join(other_scoring(run, Row("", table.comparable, []), table.images)), []).append(run)
    comparable = scored.pop("", [])
    joined, used = [], set[str]()
    for line in lines:
        stages = by_stage(line, comparable)
        used |= {str(run.folder) for members in stages.values() for run in members}
        for stage, members in {"": [], **stages}.items():
            kept, said = trials(line.row.name, members)
            remarks += said
            at = ", ".join(filter(None, (line.setting, f"AP from weights of {stage}")))
            joined.append(line._replace(setting=at, runs=[], tuned=kept) if stage else line._replace(tuned=kept))
    left = [run for run in comparable if str(run.folder) not in used]
    if left:
        remarks.append(f"Fine-tuned from a start that is in no row: {folders(left)}.")
    remarks += [f"Not scored as the published AP, {why}: {folders(members)}." for why, members in scored.items()]
    return joined, remarks


def folders(runs: Sequence[Run]) -> str:
    """The folders of runs, joined by commas."""
    return ", ".join(str(run.folder) for run in runs)


def by_stage(line: Line, tuned: Sequence[Run]) -> dict[str, list[Run]]:
    """The fine-tuning runs that started from runs of a line, by the stage of the weights, see `stage_of`."""
    before, found = by_hash(line.runs), dict[str, list[Run]]()
    for run in tuned:
        if (start := before.get(hash_before(run) or "")) is not None:
            found.setdefault(stage_of(start, step_before(run)), []).append(run)
    return found


def trials(row: str, tuned: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """The fine-tuning runs whose scores are averaged, and remarks on the others."""
    unlike = sorted({text for text in differences([setting_of(run, STARTS) for run in tuned]) if text})
    if not unlike:
        return counted_once(tuned)
    return [], [
        f"Row {row}: AP is left out, because its fine-tuning runs differ ({'; '.join(unlike)}): {folders(tuned)}. "
        "Give the folders of one setting."
    ]
