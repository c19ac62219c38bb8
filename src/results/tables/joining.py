"""Fine-tuning runs beside the pre-training runs that they started from, in the lines of a table of pre-training."""

from collections.abc import Sequence

from src.results.runs import Run
from src.results.tables.origins import hash_before, hash_of
from src.results.tables.published import Row, Table
from src.results.tables.sorting import Line, collect, departures, differences, setting_of

# What differs between fine-tuning runs of one line: the files that they start from.
IDENTIFYING = ("model.encoder.weights", "origin.encoder_weights")


def collect_joined(table: Table, runs: Sequence[Run]) -> tuple[list[Line], list[str]]:
    """Sort runs into the rows of a table, see `collect`, with the fine-tuning runs that started from them.

    Returns:
        lines, remarks: see `collect`. Fine-tuning runs of one line that differ in more than the seed and the file that
        they start from are not averaged, but named in a remark; so are those whose pre-training run is on no line.
    """
    tuned = [run for run in runs if table.joined and not departures(run, Row("", table.tuned, []))]
    own = [run for run in runs if all(run is not other for other in tuned)]
    lines, remarks = collect(table, own)
    joined, used = [], set[str]()
    for line in lines:
        hashes = {hash_of(run) for run in line.runs} - {None}
        found = [run for run in tuned if hash_before(run) in hashes]
        used |= {str(run.folder) for run in found}
        unlike = sorted({text for text in differences([setting_of(run, IDENTIFYING) for run in found]) if text})
        if unlike:
            folders = ", ".join(str(run.folder) for run in found)
            remarks.append(
                f"Row {line.row.name}: AP is left out, because its fine-tuning runs differ ({'; '.join(unlike)}): "
                f"{folders}. Give the folders of one setting."
            )
        joined.append(line._replace(tuned=[] if unlike else trials(found)))
    left = [str(run.folder) for run in tuned if str(run.folder) not in used]
    outside = [f"Fine-tuned from a start that is in no row: {', '.join(left)}."] if left else []
    return joined, [*remarks, *outside]


def trials(runs: Sequence[Run]) -> list[Run]:
    """The last run of each seed and start."""
    return list({(run.values.get("seed"), hash_before(run)): run for run in runs}.values())
