"""Memory that a process has freed: kept for its next tensors, or given back to the system."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of glibc's mallopt
NEVER = 2**31 - 1  # bytes that must be free at the end of the heap before they are given back


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees; returns whether the system's C library can do this.

    By default, glibc gives large blocks back at once. Each training step then gets its tensors anew, and the system
    fills their pages with zeros first, which takes a tenth of a step on a CPU. The peak stays the same, because every
    step needs it. `MALLOC_*` variables of the environment, which glibc reads, are for users of other programs.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):  # another C library, such as musl
        return False
    return bool(library.mallopt(MMAP_MAX, 0) and library.mallopt(TRIM_THRESHOLD, NEVER))
