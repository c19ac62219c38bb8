"""The threads of torch: chosen before torch is imported, because OpenMP reads the environment then."""

import os
from collections.abc import MutableMapping
from pathlib import Path

# Where the limit of a container stands, as quota and period: 200000 and 100000 are two cores, max or -1 is no limit.
CGROUP_2 = (Path("/sys/fs/cgroup/cpu.max"),)  # both numbers in one file
CGROUP_1 = (Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"))


def set_threads(environment: MutableMapping[str, str]) -> None:
    """Set OMP_WAIT_POLICY, and OMP_NUM_THREADS if a container has fewer cores than OpenMP sees; what is set stays.

    OpenMP's threads wait actively by default: they use a core while they wait for the slowest thread. Beside another
    busy process, a step then takes several times the processor time. OpenMP knows which cores a process may use, but
    not how much of them a container gets, and threads beyond that only wait for each other.
    """
    environment.setdefault("OMP_WAIT_POLICY", "passive")
    limit = container_cores()
    if limit is not None and limit < usable_cores():
        environment.setdefault("OMP_NUM_THREADS", str(limit))


def usable_cores() -> int:
    """The number of cores on which this process may run."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # no Linux
        return os.cpu_count() or 1


def container_cores() -> int | None:
    """How many cores the container gets, at least 1; None if it has no limit, or this is no Linux."""
    for files in (CGROUP_2, CGROUP_1):
        try:
            quota, period = map(int, " ".join(file.read_text(encoding="ascii") for file in files).split())
        except (OSError, ValueError):  # there is no such file, or it holds max
            continue
        return max(1, quota // period) if quota > 0 and period > 0 else None
    return None


def waiting() -> str:
    """How threads wait, in words, for the cost estimate."""
    policy = os.environ.get("OMP_WAIT_POLICY", "not set, passive is better beside a busy process")
    return f"of {usable_cores()} cores; OMP_WAIT_POLICY is {policy}"
