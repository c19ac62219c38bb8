"""A training step of `experiment=coco_seg` beside the authors' release's: python -m benchmarks.step

Batch 4 at 320 px, ResNet-18 from random weights. The images are noise, so no data is needed. In the second view the
overlap is the whole view, because the release's step is written without its cropping, see `benchmarks.release_step`.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.measuring import Row, in_turn, machine, markdown, peak_mebibytes, times_table, verdict
from benchmarks.release_step import ReleaseHeads, ReleaseNetwork, grid_sampled, total
from benchmarks.tasks import make_batch, make_task, step_of
from src.console import hush_libraries
from src.tasks.compiled import compile_parts

COCO = ("experiment=coco_seg", "data.root=none", "model.encoder.weights=null", "task.region_start=0")
DEMO = ("experiment=demo", "task.region_start=0")
WITHOUT_REGIONS = "task.loss_weights.region=0"
CONTIGUOUS = "model.memory_format=contiguous"
IMAGES, SIDE, WIDTH = 4, 320, 128
CUT = (0.8, 0.1, 0.1, 0.8)  # a mirrored part of the second view


def release_step(network: ReleaseNetwork, batch: dict[str, Any], with_regions: bool) -> Callable[[], None]:
    """A whole training step of the release."""
    optimizer = torch.optim.SGD(network.parameters(), 0.05, 0.9, weight_decay=1e-4)

    def step() -> None:
        loss: Any = total(network(*batch["views"], with_regions))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def features(channels_last: bool) -> list[Tensor]:
    """Features of two views, as encoder and feature pyramid give them."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    generator = torch.Generator().manual_seed(0)
    drawn = (torch.randn(IMAGES, WIDTH, SIDE // 4, SIDE // 4, generator=generator) for _ in "ab")
    return [each.contiguous(memory_format=layout).requires_grad_() for each in drawn]


def plain_heads(heads: ReleaseHeads, batch: dict[str, Any]) -> Callable[[], None]:
    """Sampling, heads and losses as this project computed them before, by torch's layers and `grid_sample`."""
    given, boxes, size = features(channels_last=False), batch["boxes"], SIDE // 4

    def run() -> None:
        sampled = (grid_sampled(x, boxes[:, side], size) for side, x in enumerate(given))
        loss: Any = total(heads(*sampled, True))
        loss.backward()

    return run


def own_heads(task: Any, batch: dict[str, Any]) -> Callable[[], None]:
    """Sampling, heads and losses of this project."""
    given = features(channels_last=True)

    def run() -> None:
        views = iter(given)
        task.network.features = lambda _: next(views)
        task.training_step(batch, 0)["loss"].backward()

    return run


def times(rounds: int) -> str:
    """The tables of times."""
    whole, cut = make_batch(IMAGES, SIDE), make_batch(IMAGES, SIDE, CUT)
    demo = make_batch(32, 128, CUT)
    found = in_turn(
        {
            "release": release_step(ReleaseNetwork().train(), whole, True),
            "ours": step_of(make_task(COCO), whole),
            "release, plain": release_step(ReleaseNetwork().train(), whole, False),
            "ours, plain": step_of(make_task((*COCO, WITHOUT_REGIONS)), whole),
            "heads before": plain_heads(ReleaseHeads().train(), cut),
            "heads": own_heads(make_task(COCO), cut),
            "coco_seg, contiguous": step_of(make_task((*COCO, CONTIGUOUS)), cut),
            "coco_seg, fast": step_of(make_task(COCO), cut, torch.bfloat16),
            "demo, contiguous": step_of(make_task((*DEMO, CONTIGUOUS)), demo),
            "demo, fast": step_of(make_task(DEMO), demo, torch.bfloat16),
        },
        rounds,
    )
    rows = [
        Row("release, RegionSim on", found["release"]),
        Row("ours, RegionSim on", found["ours"], found["release"], 0.85),
        Row("release, without RegionSim", found["release, plain"]),
        Row("ours, without RegionSim", found["ours, plain"], found["release, plain"]),
        Row("sampling, heads and losses, plainly", found["heads before"]),
        Row("sampling, heads and losses", found["heads"], found["heads before"], 0.5),
        Row("coco_seg, float32, contiguous", found["coco_seg, contiguous"]),
        Row("coco_seg, bf16-mixed, channels_last", found["coco_seg, fast"], found["coco_seg, contiguous"]),
        Row("demo, float32, contiguous", found["demo, contiguous"]),
        Row("demo, bf16-mixed, channels_last", found["demo, fast"], found["demo, contiguous"]),
    ]
    return times_table("training step, or a part of it", rows)


def memory() -> str:
    """The table of peaks."""
    batch = make_batch(IMAGES, SIDE)
    theirs, ours = (
        peak_mebibytes(step)
        for step in (release_step(ReleaseNetwork().train(), batch, True), step_of(make_task(COCO), batch))
    )
    rows = [
        ["release", f"{theirs:,.0f}", "1", ""],
        ["ours", f"{ours:,.0f}", f"{ours / theirs:.2f}", verdict(ours / theirs, 0.75)],
    ]
    return markdown(["training step, RegionSim on", "peak MiB", "ratio", "goal"], rows)


def compiled(rounds: int) -> str:
    """The table of a compiled step, and the seconds that its first step takes."""
    batch = make_batch(IMAGES, SIDE)
    task = make_task(COCO)
    compile_parts(task, on_gpu=False)
    steps = {"as it is": step_of(make_task(COCO), batch), "compile=true": step_of(task, batch)}
    started = time.perf_counter()
    steps["compile=true"]()
    seconds = time.perf_counter() - started
    found = in_turn(steps, rounds)
    rows = [Row("as it is", found["as it is"]), Row("compile=true", found["compile=true"], found["as it is"])]
    return f"{times_table('coco_seg, float32', rows)}\n\nThe first compiled step took {seconds:.0f} s."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds; each does every kind of step once")
    parser.add_argument("--compile", action="store_true", help="measure compile=true alone, which takes minutes")
    arguments = parser.parse_args()
    hush_libraries()
    if arguments.compile:
        print(compiled(arguments.rounds))
    else:
        print(times(arguments.rounds), memory(), sep="\n\n")
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
