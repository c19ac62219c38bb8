"""`compile=true`: the parts of a task that torch.compile turns into kernels of their own."""

import os
import shutil

from src.errors import DenseSiamError
from src.tasks.base import Task

COMPILERS = ("c++", "g++", "clang++")  # those that torch looks for


def compile_parts(task: Task, on_gpu: bool) -> None:
    """Compile the parts of a task in place; each is compiled when it is first called.

    Names of weights and checkpoints do not change. A copy of the task, such as `Task.deployed`, is not compiled.

    Args:
        task: the task.
        on_gpu: whether it runs on a GPU, for which torch needs no C++ compiler.

    Raises:
        DenseSiamError: the task has no part to compile, or there is no C++ compiler.
    """
    parts = task.compilable()
    if not parts:
        raise DenseSiamError(f"compile is true, but {task.name} has no part that is compiled: set compile=false")
    if not on_gpu and not any(map(shutil.which, (os.environ.get("CXX", ""), *COMPILERS))):
        raise DenseSiamError("compile is true, but there is no C++ compiler: install g++, or set compile=false")
    for part in parts:
        part.compile()
