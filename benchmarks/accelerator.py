"""Steps of the two experiments of the paper on one GPU, what they wait for, and the three fine-tuning protocols.

    benchmarks/accelerator.sh FILE               the tests of GPUs, then steps, memory and loading, at most 8 minutes
    benchmarks/accelerator.sh FILE --transfer    200 steps of each protocol of Table 2, at most 8 minutes

All data is generated. The tables are written into FILE as they are measured, so a stopped run has those before. A part
whose time is over does fewer steps and says how many. To try the script: --device cpu --tiny
"""

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import repeat
from pathlib import Path

import torch
import torchvision
from torch.nn.functional import cross_entropy

from benchmarks.accelerator_settings import (
    COMPILED,
    VARIANTS,
    Setting,
    Subject,
    Variant,
    values_of,
    write_data,
)
from benchmarks.measuring import machine, markdown
from benchmarks.steps import Pace, epochs, fitting, fixed_batch, free_memory, pace, prepare
from benchmarks.tasks import Batch, make_step
from src.console import hush_libraries
from src.disk import amount
from src.training.memory import forget_peak, peak_memory

LOADED = 64  # images of a batch that is loaded: the processes load whole batches ahead, which takes long for large ones
PREFETCHED = 2  # batches that each loader process loads ahead, torch's default
LEAST_SECONDS = 3.0  # a part with less time is not begun
VIEWS = 2  # of an image, each of which the network computes


@contextmanager
def numbers(variant: Variant) -> Iterator[None]:
    """Compute float32 matrix products and convolutions exactly or in TF32, and afterwards as before."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if variant.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = variant.tf32
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def ours(subject: Subject, setting: Setting, batch: int, variant: Variant, seconds: float) -> tuple[Pace, int | None]:
    """Steps on one batch that was loaded before, and their peak of memory in bytes."""
    free_memory()
    forget_peak()
    prepared = prepare(values_of(subject, setting, batch, variant))
    fixed = fixed_batch(prepared)
    if variant.compiled:
        prepared.task.get_submodule("network.encoder").compile(backend=setting.backend)
    with numbers(variant):
        step = make_step(prepared.task, setting.device, variant.bf16)
        found = pace(step, repeat(fixed), setting.device, setting.steps, seconds, setting.warm_up)
    return found, peak_memory(setting.device)


def bare(subject: Subject, setting: Setting, batch: int, variant: Variant, seconds: float) -> Pace:
    """Forward and backward pass of torchvision's ResNet on as many views: no losses of ours, no optimiser."""
    free_memory()
    order = torch.channels_last if variant.channels_last else torch.contiguous_format
    network = torchvision.models.get_model(subject.bare, weights=None).to(setting.device, memory_format=order)
    if variant.compiled:
        network.compile(backend=setting.backend)
    images = torch.rand(VIEWS * batch, 3, subject.size, subject.size, device=setting.device).to(memory_format=order)
    labels = torch.zeros(len(images), dtype=torch.int64, device=setting.device)

    def step(_: Batch) -> None:
        network.zero_grad()
        with torch.autocast(setting.device.type, torch.bfloat16, enabled=variant.bf16):
            loss = cross_entropy(network(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it

    with numbers(variant):
        return pace(step, repeat({}), setting.device, setting.steps, seconds, setting.warm_up)


def steps_table(subject: Subject, setting: Setting, variants: Sequence[Variant], seconds: float) -> str:
    """Step, memory and images per second of each variant, beside the bare network."""
    rows = []
    for variant in variants:
        share = seconds / len(variants) / 2

        def both(batch: int, variant: Variant = variant, share: float = share) -> tuple[Pace, int | None, Pace]:
            mine, memory = ours(subject, setting, batch, variant, share)
            return mine, memory, bare(subject, setting, batch, variant, share)

        batch, (mine, memory, theirs) = fitting(both, subject.batch)
        halved = "" if batch == subject.batch else f" (memory ran out at {2 * batch})"
        speeds = [batch / each.each for each in (mine, theirs)]
        known = "unknown" if memory is None else amount(memory)
        rows.append(
            [variant.name, f"{batch}{halved}", str(mine.steps), f"{1e3 * mine.each:,.1f}", known]
            + [f"{speed:,.1f}" for speed in speeds]
            + [f"{speeds[0] / speeds[1]:.2f}"]
        )
    headings = ["", "batch", "steps", "ms per step", "memory", "images per second", "bare ResNet", "ratio"]
    return markdown(headings, rows)


def loading_table(subject: Subject, setting: Setting, seconds: float) -> str:
    """How long the fastest of the usual variants waits for its loader; the batches loaded ahead are not counted."""
    variant, ahead = VARIANTS[-1], PREFETCHED * setting.workers

    def run(batch: int) -> Pace:
        free_memory()
        forget_peak()
        prepared = prepare(values_of(subject, setting, batch, variant))
        with numbers(variant):
            step = make_step(prepared.task, setting.device, variant.bf16)
            return pace(step, epochs(prepared.loader()), setting.device, setting.loaded_steps, seconds, ahead + 1)

    batch, found = fitting(run, min(LOADED, subject.batch))
    row = [str(setting.workers), str(batch), str(found.steps), f"{batch / found.each:,.1f}"]
    return markdown(
        ["loader processes", "batch", "steps", "images per second", "share of the time that the step waits"],
        [[*row, f"{found.waited / found.seconds:.0%}"]],
    )


def transfer_table(name: str, values: Sequence[str], setting: Setting, seconds: float) -> str:
    """Steps of a fine-tuning protocol with its own loader."""
    most = setting.transfer_steps

    def run(batch: int) -> tuple[Pace, int | None]:
        free_memory()
        forget_peak()
        loading = [f"data.batch_size={batch}", f"data.num_workers={setting.workers}"]
        prepared = prepare([f"experiment={name}", *values, *loading])
        step = make_step(prepared.task, setting.device)
        found = pace(step, epochs(prepared.loader()), setting.device, most, seconds, warm_up=1)
        return found, peak_memory(setting.device)

    batch, (found, memory) = fitting(run, setting.transfer_batch)
    known = "unknown" if memory is None else amount(memory)
    row = [f"{found.steps} of {most}", str(batch), f"{1e3 * found.each:,.1f}", known, f"{batch / found.each:,.1f}"]
    return markdown(
        ["steps", "batch", "ms per step", "memory", "images per second", "waiting"],
        [[*row, f"{found.waited / found.seconds:.0%}"]],
    )


Part = Callable[[float], str]


def parts_of(setting: Setting, transfer: bool) -> dict[str, Part]:
    """What is measured, by heading; each is given its seconds and returns a table."""
    if transfer:
        return {
            f"{name}, {'ResNet-18, tiny' if setting.tiny else 'ResNet-50, full size'}": (
                partial(transfer_table, name, values, setting)
            )
            for name, values in setting.transfers()
        }
    kinds: dict[str, Callable[[Subject], Part]] = {
        "steps": lambda subject: partial(steps_table, subject, setting, VARIANTS),
        "loading": lambda subject: partial(loading_table, subject, setting),
        "steps, compiled": lambda subject: partial(steps_table, subject, setting, [COMPILED]),  # last, it may take long
    }
    return {
        f"{subject.name} at {subject.size} pixels: {heading}": kind(subject)
        for heading, kind in kinds.items()
        for subject in setting.subjects()
    }


def measure(
    parts: dict[str, Part], seconds: float, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
) -> int:
    """Measure all parts within a time, a failed part does not stop the others.

    Args:
        parts: see `parts_of`.
        seconds: time for all; each part gets an equal share of what is left.
        say: is given the heading and table of each part.
        clock: returns the time in seconds.

    Returns:
        The number of parts that failed.
    """
    end, failed = clock() + seconds, 0
    for number, (title, part) in enumerate(parts.items()):
        share = (end - clock()) / (len(parts) - number)
        if share < LEAST_SECONDS:
            say(f"### {title}\n\nnot measured, the time was over")
            continue
        try:
            say(f"### {title}\n\n{part(share / 2)}")  # the other half is for making networks and for the first steps
        except Exception as error:  # the time on a GPU is dear: what can be measured is
            failed += 1
            traceback.print_exc()
            say(f"### {title}\n\n**failed**: {type(error).__name__}: {str(error).partition(chr(10))[0]}")
    return failed


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="file to which the tables are added")
    parser.add_argument("--transfer", action="store_true", help="the protocols of Table 2 instead")
    parser.add_argument("--seconds", type=float, default=300, help="time for all parts (default: %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small images and networks, to try the script")
    options = parser.parse_args(words)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU: --device cpu --tiny tries the script without one")
    hush_libraries()
    device = torch.device(options.device)

    def say(text: str) -> None:
        print(f"{text}\n", flush=True)
        if options.output:
            with options.output.open("a", encoding="utf-8") as file:
                file.write(f"{text}\n\n")

    gpu = f"{torch.cuda.get_device_name()}, " if device.type == "cuda" else ""
    say(f"{gpu}{os.cpu_count()} cores; {machine()}, torchvision {torchvision.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(device, Path(folder), options.tiny)
        begin = time.monotonic()
        write_data(setting, options.transfer)
        left = options.seconds - (time.monotonic() - begin)
        failed = measure(parts_of(setting, options.transfer), left, say)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
