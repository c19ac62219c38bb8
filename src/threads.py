"""The threads of torch: chosen before torch is imported, because OpenMP reads the environment then."""

import os
from collections.abc import MutableMapping
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # the limit of a container: "200000 100000" is two cores, "max 100000" is none


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
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def container_cores() -> int | None:
    """How many cores the container gets, at least 1; None if it has no limit, or this is no Linux."""
    try:
        quota, period = CPU_MAX.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else max(1, int(quota) // int(period))


def waiting() -> str:
    """How threads wait, in words, for the cost estimate."""
    policy = os.environ.get("OMP_WAIT_POLICY", "not set, passive is better beside a busy process")
    return f"of {usable_cores()} cores; OMP_WAIT_POLICY is {policy}"
