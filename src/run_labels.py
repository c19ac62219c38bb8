"""How a run is called in a dashboard: its name, group, job type and tags, from what was chosen on the command line."""

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from src.run_names import job_name

MOST_LETTERS = 64  # of a tag in wandb
TAGS = ("experiment", "sweep", "ablation", "data", "task", "model/encoder")


def label(kind: str) -> Any:
    """The `name`, `group`, `job_type` or `tags` of this run; None for a run that Hydra has not started.

    The group is the experiment or, in a sweep, the experiment and the sweep, so that all jobs of a sweep are one group.
    The job type is the method.
    """
    if not HydraConfig.initialized():
        return None
    hydra = HydraConfig.get()
    chosen = {str(group): choice for group, choice in hydra.runtime.choices.items()}
    what = str(chosen.get("experiment") or chosen.get("data"))
    if kind == "job_type":
        return chosen.get("task")
    if kind == "tags":
        tags = [str(chosen[group])[:MOST_LETTERS] for group in TAGS if chosen.get(group)]
        return list(dict.fromkeys(tags))
    if hydra.mode is not RunMode.MULTIRUN:
        return what if kind == "group" else f"{what} {Path(hydra.runtime.output_dir).name}"
    if kind == "name":
        return job_name(hydra.job.num, hydra.job.override_dirname)
    return " ".join(filter(None, [what, chosen.get("sweep"), Path(hydra.sweep.dir).name]))
