"""Folder names of runs: different for runs that start in the same second, and telling for the jobs of a sweep."""

import os
import re
import secrets
from hashlib import sha256

LAUNCHED = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID", "SLURM_STEP_ID")
MOST_LETTERS = 100


def run_id() -> str:
    """Six hexadecimal digits that are the same in all processes of a run, and differ between runs."""
    launched = "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1
    shared = ":".join(os.environ.get(name, "") for name in LAUNCHED)
    return sha256(shared.encode()).hexdigest()[:6] if launched else secrets.token_hex(3)


def job_name(number: int, values: str) -> str:
    """The folder of a job in a sweep, such as `03_model.grid_size-7_seed-0`.

    The number makes the name unique. All other characters than letters, digits, `.`, `-` and `_` become `-`, so that a
    path with the name needs no quotes in an override. A long name is cut, and ends in a hash of all of it.

    Args:
        number: the number of the job in the sweep, from 0.
        values: the values of the job as `hydra.job.override_dirname` has them, `key=value` separated by commas.
    """
    whole = "_".join([f"{number:02d}", *(each.lstrip("+~") for each in values.split(",") if each)])
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", whole)
    if len(safe) <= MOST_LETTERS:
        return safe
    return f"{safe[: MOST_LETTERS - 9]}_{sha256(whole.encode()).hexdigest()[:8]}"
