"""The most memory that was in use: on the GPU, or by this process."""

from contextlib import suppress
from pathlib import Path

import torch


def peak_memory(device: torch.device) -> int | None:
    """The most bytes in use since `forget_peak`.

    Args:
        device: of the network. On a GPU it is what this process had allocated there; else all that this process had in
            use, its loader processes left out.

    Returns:
        Bytes; None where the system is not Linux and there is no GPU.
    """
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else process_peak()


def process_peak() -> int | None:
    """The most bytes that this process has had in use, by Linux's count; None elsewhere."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    (peak,) = (line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024


def forget_peak() -> None:
    """Count anew from what is in use now.

    Jobs of a sweep share a process: what an earlier one has left in use counts for the next as well.
    """
    with suppress(OSError):  # another system than Linux, or one that forbids it: the peak then stands for all jobs
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        for device in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(device)
