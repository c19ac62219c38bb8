"""Different folder names for runs that start in the same second."""

import os
import secrets
from hashlib import sha256

LAUNCHED = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID", "SLURM_STEP_ID")


def run_id() -> str:
    """Six hexadecimal digits that are the same in all processes of a run, and differ between runs."""
    launched = "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1
    shared = ":".join(os.environ.get(name, "") for name in LAUNCHED)
    return sha256(shared.encode()).hexdigest()[:6] if launched else secrets.token_hex(3)
