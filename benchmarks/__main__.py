"""Measure every subject, each in a process of its own, and list the goals: `make bench`."""

import os
import subprocess
import sys

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
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


def main() -> None:
    judged, failed = [], []
    for subject in sys.argv[1:] or SUBJECTS:
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{subject}"], env=ONE_THREAD | os.environ, text=True, capture_output=True
        )
        print(f"## {subject}\n\n{done.stdout}", flush=True)
        if done.returncode:
            failed.append(subject)
            print(done.stderr, file=sys.stderr)
        judged += [line for line in done.stdout.splitlines() if line.endswith((": pass |", ": **short** |"))]
    short = [line for line in judged if line.endswith(": **short** |")]
    print(f"{len(judged) - len(short)} of {len(judged)} goals are met", *short, sep="\n")
    if failed:
        sys.exit(f"these subjects ended with an error: {', '.join(failed)}")


if __name__ == "__main__":
    main()
