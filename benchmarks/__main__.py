"""Measure every subject, each in a process of its own, and list the goals: `make bench`."""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from tempfile import TemporaryFile
from typing import NamedTuple

# Modules of this package, in the order in which they are measured.
SUBJECTS: tuple[str, ...] = (
    "loading",
    "step",
    "scoring",
    "pretraining",
    "pretraining_memory",
    "methods",
    "clustering",
    "threads",
    "growth",
    "predicting",
    "shards",
)
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "PYTHONUNBUFFERED": "1"}
LIMIT = 600.0  # seconds of a subject, several times what it takes on a machine without other work
PASS, SHORT = ": pass |", ": **short** |"  # the ends of lines with a goal, see `benchmarks.measuring.verdict`


class Ended(NamedTuple):
    """How a subject ended: what it printed, its seconds by the clock, and what went wrong, "" for nothing."""

    output: str
    errors: str
    seconds: float
    fault: str


def command(subject: str) -> list[str]:
    """What measures a subject."""
    return [sys.executable, "-m", f"benchmarks.{subject}"]


def measured(subject: str, limit: float) -> Ended:
    """Measure a subject; after `limit` seconds it is ended together with the processes that it has started."""
    started = time.monotonic()
    with TemporaryFile("w+") as output, TemporaryFile("w+") as errors:  # a process that is left over keeps no pipe open
        process = subprocess.Popen(
            command(subject), env=ENVIRONMENT | os.environ, stdout=output, stderr=errors, start_new_session=True
        )
        try:
            code = process.wait(limit)
            fault = f"exit code {code}" if code else ""
        except subprocess.TimeoutExpired:
            fault = f"stopped after {limit:g} s"
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for file in (output, errors):
            file.seek(0)
        return Ended(output.read(), errors.read(), time.monotonic() - started, fault)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subjects", nargs="*", help=f"what to measure: {', '.join(SUBJECTS)} (default: all of them)")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds of each subject (default: %(default)g)")
    asked = parser.parse_args(words)
    unknown = [subject for subject in asked.subjects if subject not in SUBJECTS]
    if unknown:
        parser.error(f"expected subjects of {', '.join(SUBJECTS)}, found {', '.join(unknown)}")
    found: dict[str, Ended] = {}
    for subject in asked.subjects or SUBJECTS:
        ended = found[subject] = measured(subject, asked.limit)
        print(f"## {subject}\n\n{ended.output}\n{ended.seconds:.0f} s\n", flush=True)
        if ended.fault:
            print(f"{subject}: {ended.fault}\n{ended.errors}", file=sys.stderr, flush=True)
    lines = [line for ended in found.values() for line in ended.output.splitlines() if line.endswith((PASS, SHORT))]
    short = [line for line in lines if line.endswith(SHORT)]
    print(f"{len(lines) - len(short)} of {len(lines)} goals are met", *short, sep="\n")
    seconds = ", ".join(f"{subject} {ended.seconds:.0f}" for subject, ended in found.items())
    print(f"\nseconds: {seconds}; {sum(ended.seconds for ended in found.values()):.0f} together")
    failed = [f"{subject} ({ended.fault})" for subject, ended in found.items() if ended.fault]
    if failed:
        sys.exit(f"these subjects were not measured completely: {', '.join(failed)}")


if __name__ == "__main__":
    main()
