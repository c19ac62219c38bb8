"""The program in a process of its own, and two processes that talk over gloo, as two GPUs' would."""

import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp

ROOT = Path(__file__).parents[1]


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m` as a user would, from the root of the clone."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def in_two_processes(function: Callable[[int], Any], folder: Path) -> list[Any]:
    """What a function of a module's top level gives for rank 0 and rank 1 of one process group.

    Both are forked from a server that has imported the program once: an import takes longer than most functions.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.set_forkserver_preload(["lightning", "src.assembly.train", "tests.factories"])
    mp.start_processes(_in_process, args=(port, function, folder), nprocs=2, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


def _in_process(rank: int, port: int, function: Callable[[int], Any], folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.save(function(rank), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()
