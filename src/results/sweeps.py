"""The jobs of a sweep: the values that they differ in, and their scores."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from src.errors import DenseSiamError
from src.overrides import spelled
from src.regular import read_text
from src.results.runs import SCORES, Run, main_row, read_run
from src.results.scores import PRIMARY
from src.results.tables.cells import spread

SEED = "seed"
LABEL_FREE = ("consistency", "mutual_information", "entropy", "balance")


class Job(NamedTuple):
    """One job of a sweep.

    Attributes:
        folder: its folder.
        overrides: the overrides that it was started with, by key; empty if they were not recorded.
        run: its results; None if it failed, was stopped or is still running.
    """

    folder: Path
    overrides: Mapping[str, str]
    run: Run | None


class Setting(NamedTuple):
    """The jobs that differ in nothing but their seed.

    Attributes:
        values: the text of each swept value, by its key.
        finished: the results of the finished jobs.
        failed: the folders of the jobs without results.
    """

    values: Mapping[str, str]
    finished: Sequence[Run]
    failed: Sequence[Path]


class Sweep(NamedTuple):
    """A folder of jobs.

    Attributes:
        folder: the folder.
        keys: the keys of the swept values, without the seed.
        settings: the settings, ordered by their values.
    """

    folder: Path
    keys: Sequence[str]
    settings: Sequence[Setting]


def read_sweep(folder: Path) -> Sweep:
    """Read all jobs below a folder.

    Raises:
        DenseSiamError: there is no job below the folder.
    """
    jobs = read_jobs(folder)
    if not jobs:
        raise DenseSiamError(f"no {SCORES} in or below {folder}: expected the folder of a finished run or of a sweep")
    keys = swept_keys(jobs)
    groups: dict[tuple[str, ...], list[Job]] = {}
    for job in jobs:
        groups.setdefault(tuple(value_of(job, key) for key in keys), []).append(job)
    settings = [
        Setting(
            dict(zip(keys, values, strict=True)),
            [job.run for job in members if job.run],
            [job.folder for job in members if not job.run],
        )
        for values, members in sorted(groups.items(), key=lambda group: [in_order(value) for value in group[0]])
    ]
    return Sweep(folder, keys, settings)


def read_jobs(folder: Path) -> list[Job]:
    """The jobs below a folder, sorted by path; a job whose `scores.json` can't be read counts as one without results.

    A folder belongs to a job if Hydra has written its config there, or if there is a `scores.json`.
    """
    found = {path.parent for name in (".hydra", SCORES) for path in folder.rglob(name)} - {folder}
    jobs = []
    for each in sorted(found):
        run = None
        with suppress(DenseSiamError):
            run = read_run(each)
        jobs.append(Job(each, read_overrides(each), run))
    return jobs


def read_overrides(folder: Path) -> dict[str, str]:
    """The overrides that Hydra has recorded for a job, spelled as `spelled` does; empty if there is no record."""
    try:
        lines = yaml.safe_load(read_text(folder / ".hydra" / "overrides.yaml"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return dict(read_override(str(line)) for line in lines) if isinstance(lines, list) else {}


def read_override(line: str) -> tuple[str, str]:
    """The key of an override, without a group's package, and its value as a config of a finished job spells it."""
    try:
        parsed = OverridesParser.create().parse_override(line)
        return parsed.key_or_group, spelled(parsed.value())
    except HydraException:
        key, _, value = line.partition("=")
        return key.lstrip("+~"), value


def swept_keys(jobs: Sequence[Job]) -> list[str]:
    """The keys whose overrides differ between jobs, without the seed."""
    keys = dict.fromkeys(key for job in jobs for key in job.overrides)
    return [key for key in keys if key != SEED and len({job.overrides.get(key) for job in jobs}) > 1]


def value_of(job: Job, key: str) -> str:
    """The value of a key in the config of a finished job; otherwise the override, or a dash without one."""
    if job.run and key in job.run.values:
        return spelled(job.run.values[key])
    return job.overrides.get(key, "-")


def in_order(value: str) -> tuple[int, float, str]:
    """A key for sorting: numbers by their size, then text."""
    try:
        return 0, float(value), value
    except ValueError:
        return 1, 0.0, value


def columns(sweep: Sweep) -> list[str]:
    """The columns that show how good the settings are: the score, or the label-free metrics if nothing is scored."""
    runs = [run for setting in sweep.settings for run in setting.finished]
    scores = [name for name in PRIMARY if any(score_of(run, name) is not None for run in runs)]
    if scores:
        return scores
    return [name for name in LABEL_FREE if any(label_free_of(run, name) is not None for run in runs)]


def measured(setting: Setting, column: str) -> list[float]:
    """The numbers of a column, one for each finished job that has it."""
    numbers = [score_of(run, column) if column in PRIMARY else label_free_of(run, column) for run in setting.finished]
    return [number for number in numbers if number is not None]


def interval_of(setting: Setting, column: str) -> tuple[float, float] | None:
    """The 95 % interval of a score, if the setting has one finished job and the job has an interval."""
    if len(setting.finished) != 1:
        return None
    (run,) = setting.finished
    label = main_row(run)
    found = run.document["intervals"].get(label, {}).get(column)
    pair = [_number(end) for end in found] if isinstance(found, list) and len(found) == 2 else []
    return (pair[0], pair[1]) if len(pair) == 2 and pair[0] is not None and pair[1] is not None else None


def cell(setting: Setting, column: str) -> str:
    """The text of a cell: the number with its interval, or the mean and the standard deviation over the seeds."""
    numbers, digits = measured(setting, column), 1 if column in PRIMARY else 3
    if not numbers:
        return "-"
    interval = interval_of(setting, column) if column in PRIMARY else None
    seeds = f" ({len(numbers)} seeds)" if len(numbers) > 1 else ""
    ends = f" ({interval[0]:.1f} to {interval[1]:.1f})" if interval else ""
    return f"{spread(numbers, digits)}{seeds}{ends}"


def places(setting: Setting) -> str:
    """The names of the folders of a setting; those of jobs without results are marked."""
    failed = f"failed or stopped: {', '.join(path.name for path in setting.failed)}" if setting.failed else ""
    return "; ".join(filter(None, [", ".join(run.folder.name for run in setting.finished), failed]))


def score_of(run: Run, column: str) -> float | None:
    """A score of the trained network in percent; None if the run does not have it."""
    label = main_row(run)
    return None if label is None else _number(run.document["scores"][label].get(column))


def label_free_of(run: Run, name: str) -> float | None:
    """A label-free metric of the last epoch; None if it was not computed."""
    found = run.document.get("label_free")
    return _number(found.get(name)) if isinstance(found, dict) else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
