"""A training step of `experiment=coco_seg` beside the authors' release's: python -m benchmarks.step

Batch 4 at 320 px, ResNet-18 from random weights. The images are noise, so no data is needed. In the second view the
overlap is the whole view, because the release's step is written without its cropping, see `benchmarks.release_step`.
Each program has a process of its own, because what one has freed makes the other one faster, and both take turns.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.elsewhere import Make, elsewhere
from benchmarks.measuring import Row, in_turn, machine, markdown, peak_mebibytes, times_table, verdict
from benchmarks.release_step import ReleaseHeads, ReleaseNetwork, grid_sampled, total
from benchmarks.tasks import WHOLE, make_step, make_task, noise
from src.console import hush_libraries
from src.tasks.compiled import compile_parts

COCO = ("experiment=coco_seg", "data.root=none", "model.encoder.weights=null", "task.region_start=0")
DEMO = ("experiment=demo", "task.region_start=0")
WITHOUT_REGIONS = "task.loss_weights.region=0"
CONTIGUOUS = "model.memory_format=contiguous"
CPU = torch.device("cpu")
IMAGES, SIDE, WIDTH = 4, 320, 128
CUT = (0.8, 0.1, 0.1, 0.8)  # a mirrored part of the second view


def release_step(with_regions: bool) -> Callable[[], None]:
    """A whole training step of the release."""
    network, batch = ReleaseNetwork().train(), noise(IMAGES, SIDE)
    optimizer = torch.optim.SGD(network.parameters(), 0.05, 0.9, weight_decay=1e-4)

    def step() -> None:
        loss: Any = total(network(*batch["views"], with_regions))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def own_step(
    values: Sequence[str], images: int = IMAGES, side: int = SIDE, second: Sequence[float] = WHOLE, bf16: bool = False
) -> Callable[[], None]:
    """A whole training step of this project."""
    return partial(make_step(make_task(values), CPU, bf16), noise(images, side, (WHOLE, second)))


def features(channels_last: bool) -> list[Tensor]:
    """Features of two views, as encoder and feature pyramid give them."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    generator = torch.Generator().manual_seed(0)
    drawn = (torch.randn(IMAGES, WIDTH, SIDE // 4, SIDE // 4, generator=generator) for _ in "ab")
    return [each.contiguous(memory_format=layout).requires_grad_() for each in drawn]


def plain_heads() -> Callable[[], None]:
    """Sampling, heads and losses as this project computed them before, by torch's layers and `grid_sample`."""
    heads, boxes = ReleaseHeads().train(), noise(IMAGES, SIDE, (WHOLE, CUT))["boxes"]
    given, size = features(channels_last=False), SIDE // 4

    def run() -> None:
        sampled = (grid_sampled(x, boxes[:, side], size) for side, x in enumerate(given))
        loss: Any = total(heads(*sampled, True))
        loss.backward()

    return run


def own_heads() -> Callable[[], None]:
    """Sampling, heads and losses of this project."""
    task, batch, given = make_task(COCO), noise(IMAGES, SIDE, (WHOLE, CUT)), features(channels_last=True)

    def run() -> None:
        views = iter(given)
        task.network.features = lambda _: next(views)
        task.training_step(batch, 0)["loss"].backward()

    return run


class Pair(NamedTuple):
    """Two programs that are compared.

    Attributes:
        names: of the rows, what others are compared with first.
        makes: what makes them, in a process of its own each.
        goal: the ratio that the second may have at most; None if there is no goal.
    """

    names: tuple[str, str]
    makes: tuple[Make, Make]
    goal: float | None = None


def fast(name: str, values: Sequence[str], **sizes: Any) -> Pair:
    """Bfloat16 and channels_last together, beside float32 without them."""
    slow = partial(own_step, (*values, CONTIGUOUS), second=CUT, **sizes)
    quick = partial(own_step, values, second=CUT, bf16=True, **sizes)
    return Pair((f"{name}, float32, contiguous", f"{name}, bf16-mixed, channels_last"), (slow, quick))


PAIRS = (
    Pair(("release, RegionSim on", "ours, RegionSim on"), (partial(release_step, True), partial(own_step, COCO)), 0.85),
    Pair(
        ("release, without RegionSim", "ours, without RegionSim"),
        (partial(release_step, False), partial(own_step, (*COCO, WITHOUT_REGIONS))),
    ),
    Pair(("sampling, heads and losses, plainly", "sampling, heads and losses"), (plain_heads, own_heads), 0.5),
    fast("coco_seg", COCO),
    fast("demo", DEMO, images=32, side=64),
)


def times(rounds: int) -> str:
    """The table of times."""
    rows: list[Row] = []
    for pair in PAIRS:
        with elsewhere(dict(zip(pair.names, pair.makes, strict=True))) as runs:
            theirs, ours = in_turn(runs, rounds).values()
        rows += [Row(pair.names[0], theirs), Row(pair.names[1], ours, theirs, pair.goal)]
    return times_table("training step, or a part of it", rows)


def memory() -> str:
    """The table of peaks."""
    theirs, ours = map(peak_mebibytes, (release_step(True), own_step(COCO)))
    rows = [
        ["release", f"{theirs:,.0f}", "1", ""],
        ["ours", f"{ours:,.0f}", f"{ours / theirs:.2f}", verdict(ours / theirs, 0.75)],
    ]
    return markdown(["training step, RegionSim on", "peak MiB", "ratio", "goal"], rows)


def compiled(rounds: int) -> str:
    """The table of a compiled step, and the seconds that its first step takes."""
    task = make_task(COCO)
    compile_parts(task, on_gpu=False)
    batch = noise(IMAGES, SIDE)
    steps: dict[str, Callable[[], None]] = {
        "as it is": own_step(COCO),
        "compile=true": partial(make_step(task, CPU), batch),
    }
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
