"""Time and operations of a step of SimSiam, PixSim and RegionSim, beside SimSiam written plainly. The images are noise.

    OMP_NUM_THREADS=1 python -m benchmarks.pretraining
Values of the config can be added at the end, such as `model.image_channels=512`; SimSiam written plainly follows
`model/encoder=resnet18`, `model.image_channels` and `model.image_bottleneck`.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence

import torch
from hydra.errors import CompactHydraException
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measuring import Row, in_turn, machine, markdown, times_table
from benchmarks.plain_simsiam import ENCODERS, make_plain_step
from benchmarks.pretraining_steps import TIMED, make_batch, parser, setting, variant_step
from src.console import hush_libraries

PLAIN = "SimSiam, written plainly"
GOALS = {"SimSiam": 0.96, "PixSim, K = 7": 1.04, "RegionSim, layer first": 1.15}  # the first beside PLAIN
UNTIMED = ("RegionSim, sums first",)  # nobody computes in this order, its operations say enough
GFLOP = 1e9


def make_steps(asked: argparse.Namespace, images: int) -> dict[str, Callable[[], None]]:
    """A step of each kind on a batch of so many images, by its name."""
    batch, device, bf16 = make_batch(images, asked.size), torch.device(asked.device), asked.precision == "bf16"
    given = dict(value.split("=", 1) for value in asked.values if "=" in value)
    encoder = given.get("model/encoder", "resnet50")
    steps: dict[str, Callable[[], None]] = {}
    if encoder in ENCODERS:
        widths = int(given.get("model.image_channels", 2048)), int(given.get("model.image_bottleneck", 512))
        views = [view.to(device) for view in batch["views"]]
        steps[PLAIN] = make_plain_step(encoder, views, *widths, torch.bfloat16 if bf16 else None)
    return steps | {variant.name: variant_step(variant, batch, device, bf16, asked.values) for variant in TIMED}


def operations(step: Callable[[], None]) -> int:
    """Multiplications and additions of one step."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def operations_table(counted: Mapping[str, int], images: int) -> str:
    """The operations per image, compared with those of SimSiam."""
    rows = [
        [name, f"{each / images / GFLOP:.2f}", f"{each / counted['SimSiam']:.3f}"] for name, each in counted.items()
    ]
    return markdown(["step", "GFLOP per image", "x SimSiam"], rows)


def measure(asked: argparse.Namespace) -> str:
    """Both tables."""
    counted = {name: operations(step) for name, step in make_steps(asked, images=2).items()}
    steps = make_steps(asked, asked.batch)
    times = in_turn({name: step for name, step in steps.items() if name not in UNTIMED}, asked.rounds)
    rows = [Row(PLAIN, times[PLAIN])] if PLAIN in times else []
    rows += [Row("SimSiam", times["SimSiam"], times.get(PLAIN), GOALS["SimSiam"])]
    others = [name for name in times if name not in (PLAIN, "SimSiam")]
    rows += [Row(name, times[name], times["SimSiam"], GOALS.get(name)) for name in others]
    text = f"{PLAIN} is 1 for SimSiam, and SimSiam is 1 for the rows below it."
    return f"{times_table('step', rows)}\n\n{text}\n\n{operations_table(counted, images=2)}"


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    options = parser(__doc__, images=8)
    options.add_argument("--rounds", type=int, default=3, help="number of rounds; each does every kind of step once")
    options.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument("--precision", choices=("32", "bf16"), default="32")
    asked = options.parse_args(words)
    if asked.batch < 2 or asked.size < 1 or asked.rounds < 1:
        options.error("expected --batch from 2, --size and --rounds from 1")
    if asked.device == "cuda" and not torch.cuda.is_available():
        options.error("expected a GPU for --device cuda, and torch finds none")
    return asked


def main(words: Sequence[str] | None = None) -> None:
    hush_libraries()
    asked = parse(words)
    try:
        print(measure(asked))
    except CompactHydraException as error:
        raise SystemExit(f"benchmarks.pretraining: {error}") from None
    where = torch.cuda.get_device_name() if asked.device == "cuda" else machine()
    print(f"\n{setting(asked)}, precision {asked.precision}; {where}")


if __name__ == "__main__":
    main()
