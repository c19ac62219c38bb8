"""Freed memory stays with the process, so that the next tensors need no new pages."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = """
import resource
import torch
from src.allocation import keep_freed_memory
if {kept}:
    assert keep_freed_memory()
def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**26)  # 256 MB: more than glibc keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(min(pages() for _ in range(8)))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library is not glibc")
def test_a_tensor_takes_the_pages_of_one_before() -> None:
    """In processes of their own, because the setting holds for a whole process."""
    size = resource.getpagesize()
    found = [
        int(subprocess.check_output([sys.executable, "-c", PROGRAM.format(kept=kept)], cwd=ROOT, text=True))
        for kept in (False, True)
    ]
    assert found[0] * size > 2**23  # at least in pages of 2 MiB
    assert found[1] < found[0] / 10
