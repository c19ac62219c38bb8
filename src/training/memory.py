"""The peak of the memory in use, on the GPU or by this process."""

from contextlib import suppress
from pathlib import Path

import torch


def peak_memory(device: torch.device) -> int | None:
    """The peak of the memory in use since `forget_peak`.

    Args:
        device: the device of the network. For a GPU, the memory that this process has allocated there is measured;
            otherwise, all memory that this process has in use, without its loader processes.

    Returns:
        The peak in bytes; None if the system is not Linux and there is no GPU.
    """
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else process_peak()


def process_peak() -> int | None:
    """The most bytes that this process has had in use, as Linux reports it; None on other systems."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    (peak,) = (line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024


def forget_peak() -> None:
    """Reset the peak to the memory that is in use now.

    The jobs of a sweep share a process, so memory that an earlier job has left in use counts for the next job too.
    """
    with suppress(OSError):  # not Linux, or not allowed: the peak is then that of all jobs so far
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        for device in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(device)
