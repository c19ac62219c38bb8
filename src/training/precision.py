"""The number format of a network: which one is fast on a device."""

from copy import deepcopy
from pathlib import Path

import torch
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

PROCESSOR = Path("/proc/cpuinfo")
FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # of processors that multiply bfloat16 numbers: x86, x86, ARM


def with_precision(config: DictConfig) -> DictConfig:
    """The config of a run in which `trainer.precision=auto` is replaced by what it stands for here, which is printed.

    So checkpoints, scores and the hash of the config say with which numbers the network was trained.
    """
    if OmegaConf.select(config, "trainer.precision") != "auto":
        return config
    precision = fast_precision(config.trainer.get("accelerator", "auto"))
    rank_zero_only(print)(f"trainer.precision=auto is {precision} on this device")
    settled: DictConfig = deepcopy(config)
    settled.trainer.precision = precision
    return settled


def fast_precision(accelerator: object) -> str:
    """What `trainer.precision=auto` stands for: `bf16-mixed` on a device that multiplies bfloat16, else `32-true`.

    Args:
        accelerator: `trainer.accelerator`; `auto` takes a GPU if there is one.
    """
    gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and CUDAAccelerator.is_available())
    return "bf16-mixed" if multiplies_bfloat16("cuda" if gpu else str(accelerator)) else "32-true"


def multiplies_bfloat16(device: str) -> bool:
    """Whether a device (`cuda`, `cpu` or `auto` for the CPU, `mps`) has instructions that multiply bfloat16 numbers.

    Without them, bfloat16 is computed in other ways, which take longer than float32. A processor that can't be asked,
    as on a system without `/proc/cpuinfo`, counts as one without them.
    """
    if device == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if device not in ("cpu", "auto"):
        return False
    try:
        lines = PROCESSOR.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    words = (line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features")))
    return bool(FLAGS & set(next(words, [])))


def remark(precision: str, device: str) -> str:
    """What a user should know about a precision on a device; "" for nothing."""
    fast = multiplies_bfloat16(device)
    if precision.startswith("bf16"):
        return "" if fast else "slower than 32-true here: this device has no instructions for bfloat16"
    if precision != "32-true":
        return ""
    if fast:
        return "trainer=fast takes bf16-mixed, which is faster on this device"
    return "this device has no instructions for bfloat16, so trainer=fast takes it too"
