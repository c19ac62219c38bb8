"""Memory and time of a pre-training step, compared with a step of SimSiam. No data is needed: the images are noise.

Memory that autograd keeps for the backward pass, for each K of Table 4a and for RegionSim:
    python scripts/benchmark.py memory
Seconds and operations of a step of SimSiam, PixSim and RegionSim, in turn; times vary least with one thread:
    OMP_NUM_THREADS=1 python scripts/benchmark.py time
Values of the config can be added at the end, such as `model/encoder=resnet18 model.encoder.output_stride=8`.
"""

import argparse
import platform
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, cast

import lightning
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import CompactHydraException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from src.console import hush_libraries
from src.errors import plain_errors
from src.models.heads import projected
from src.tasks.pretrain import Pretrain

ROOT = Path(__file__).resolve().parent.parent
TABLE_4 = ROOT / "scripts" / "published" / "table4.yaml"
MB, GFLOP = 1e6, 1e9
BRANCHES = {"encoder": "encoder", "image branch": "image_head", "pixel branch": "head", "region branch": "region_head"}
PRECISIONS = {"32": None, "bf16": torch.bfloat16}


class Variant(NamedTuple):
    """A kind of step: values of the config, and whether RegionSim sums over the masks before g' (the slower order)."""

    name: str
    overrides: tuple[str, ...]
    sums_first: bool = False

    def task(self, values: Sequence[str]) -> Pretrain:
        """The task of this step, with further values of the config."""
        task = make_task([*values, *self.overrides])
        if self.sums_first and task.network.region_head is not None:
            task.network.region_head.project = projected
        return task


def grid(size: int) -> Variant:
    """PixSim without RegionSim, with K x K points; SimSiam for 0."""
    return Variant(f"K = {size}", (f"model.grid_size={size}", "task.loss_weights.region=0"))


ACTIVE = ("model.grid_size=7", "task.region_start=0")
REGIONS = (Variant("RegionSim, layer first", ACTIVE), Variant("RegionSim, sums first", ACTIVE, sums_first=True))
TIMED = (grid(0)._replace(name="SimSiam"), grid(7)._replace(name="PixSim, K = 7"), *REGIONS)


@dataclass(eq=False)
class Kept:
    """A tensor that autograd keeps for the backward pass, and the part of the network that saved it."""

    tensor: Tensor
    part: str


class Timed(NamedTuple):
    """Wall-clock seconds and processor seconds (all threads together) of each step; operations of one step."""

    wall: list[float]
    processor: list[float]
    operations: int


def make_task(overrides: Sequence[str]) -> Pretrain:
    """The task of `experiment=coco_pretrain` with these values, ready for single steps without Lightning's loop."""
    lightning.seed_everything(0, verbose=False)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"), plain_errors():
        config = compose("train", ["experiment=coco_pretrain", "task.schedule=constant", *overrides])
        task: Pretrain = instantiate(config.task, classes=(), protocol=instantiate(config.protocol), _convert_="all")
    task.trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False)
    for name in ("log", "log_dict"):  # they work only inside Lightning's loop
        setattr(task, name, lambda *_, **__: None)
    return task.train()


def make_batch(images: int, side: int, device: torch.device) -> dict[str, Any]:
    """A batch of noise: two views of each image that partly overlap; the second view is flipped."""
    generator = torch.Generator().manual_seed(0)
    views = [torch.randint(0, 256, (images, 3, side, side), dtype=torch.uint8, generator=generator) for _ in "ab"]
    boxes = torch.tensor([[[0.3, 0.0, 1.0, 0.8], [0.7, 0.2, 0.1, 0.9]]]).repeat(images, 1, 1)
    return {
        "views": [view.to(device) for view in views],
        "boxes": boxes.to(device),
        "valid": torch.ones(images, dtype=torch.bool, device=device),
        "redrawn": torch.zeros(images, device=device),
        "index": torch.arange(images, device=device),
    }


def kept_bytes(module: nn.Module, forward: Callable[[], Tensor]) -> Counter[str]:
    """Bytes that autograd keeps between the forward and the backward pass.

    Each storage counts once, in full, for the part that saved it first. Parameters and buffers do not count, because
    they need no additional memory.

    Args:
        module: its children are the parts.
        forward: returns the loss; tensors that the backward pass of the loss does not need are not counted.

    Returns:
        Bytes by the names of the children; "" for tensors that were saved outside of them.
    """
    entered, saved = [""], list[weakref.ref[Kept]]()

    def pack(tensor: Tensor) -> Kept:
        kept = Kept(tensor.detach(), entered[-1])  # not attached: the tensor would keep its whole graph
        saved.append(weakref.ref(kept))
        return kept

    def enter(name: str, *_: object) -> None:
        entered.append(name)

    def leave(*_: object) -> None:
        entered.pop()

    hooks = []
    for name, child in module.named_children():
        hooks += [child.register_forward_pre_hook(partial(enter, name)), child.register_forward_hook(leave)]
    with saved_tensors_hooks(pack, lambda kept: kept.tensor):
        loss = forward()
    for hook in hooks:
        hook.remove()
    counted = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    found = Counter[str]()
    for kept in filter(None, (reference() for reference in saved)):
        storage = kept.tensor.untyped_storage()
        if storage.data_ptr() not in counted:
            counted.add(storage.data_ptr())
            found[kept.part] += storage.nbytes()
    del loss  # the loss must exist until here, because it keeps the saved tensors
    return found


def measure_memory(variant: Variant, images: int, side: int, values: Sequence[str]) -> dict[str, float]:
    """Bytes per image (both views together) of each of `BRANCHES`, and of the rest, which is sampling and losses."""
    task = variant.task(values)
    batch = make_batch(images, side, torch.device("cpu"))
    found = kept_bytes(task.network, lambda: task.training_step(batch, 0)["loss"])
    parts = {branch: found.pop(part, 0) / images for branch, part in BRANCHES.items()}
    return {**parts, "rest": found.total() / images}


def published_memory() -> dict[str, float]:
    """The memory in GB that the paper's Table 4a gives for each K."""
    table = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(TABLE_4)))["tables"]["table4a"]
    return {row["name"]: row["published"][table["columns"].index("Mem. GB")] for row in table["rows"]}


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows))


def memory_table(measured: Mapping[str, Mapping[str, float]], published: Mapping[str, float]) -> str:
    """The memory as a Markdown table, in which all rows are compared with the first.

    Args:
        measured: result of `measure_memory` for each step, by its name.
        published: the paper's memory in GB by the same names, for those steps that the paper has.
    """
    first, *_ = measured
    least, rows = sum(measured[first].values()), []
    for name, parts in measured.items():
        total = sum(parts.values())
        theirs = (
            [f"{published[name]:.2f}", f"{published[name] / published[first] - 1:.2%}"] if name in published else []
        )
        sizes = [f"{size / MB:.2f}" for size in parts.values()]
        rows.append([name, f"{total / MB:.2f}", f"{total / least - 1:.2%}", *sizes, *(theirs or ["-", "-"])])
    return markdown(["step", "MB per image", "more", *measured[first], "paper's GB", "more"], rows)


def make_step(variant: Variant, batch: dict[str, Any], dtype: torch.dtype | None, values: Sequence[str]) -> Any:
    """A function that does one whole training step: both views, losses, backward pass, SGD."""
    device = batch["valid"].device
    task = variant.task(values).to(device)
    optimizer = cast(torch.optim.Optimizer, task.configure_optimizers())

    def step() -> None:
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            loss = task.training_step(batch, 0)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return step


def measure_time(steps: Sequence[Callable[[], None]], rounds: int) -> list[Timed]:
    """Do the steps in turn, `rounds` times, after a warm-up in which their operations are counted."""
    timed = []
    for step in steps:
        with FlopCounterMode(display=False) as counter:
            step()
        timed.append(Timed([], [], counter.get_total_flops()))
    for _ in track(range(rounds), "measuring", console=Console(stderr=True), transient=True):
        for step, each in zip(steps, timed, strict=True):
            wall, processor = time.perf_counter(), time.process_time()
            step()
            each.wall.append(time.perf_counter() - wall)
            each.processor.append(time.process_time() - processor)
    return timed


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Median and range of the ratios, each computed within a round."""
    found = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return f"{median(found):.3f} ({min(found):.3f}-{max(found):.3f})"


def time_table(names: Sequence[str], timed: Sequence[Timed], images: int) -> str:
    """The times as a Markdown table, in which all rows are compared with the first, round by round."""
    first, rows = timed[0], []
    for name, each in zip(names, timed, strict=True):
        clocks = [(each.wall, first.wall), (each.processor, first.processor)]
        seconds = [cell for ours, theirs in clocks for cell in (f"{median(ours):.3f}", ratios(ours, theirs))]
        work = [f"{each.operations / images / GFLOP:.2f}", f"{each.operations / first.operations:.3f}"]
        rows.append([name, *seconds, *work])
    beside = f"x {names[0]}"
    return markdown(["step", "wall s", beside, "processor s", beside, "GFLOP per image", beside], rows)


def memory(arguments: argparse.Namespace) -> str:
    published = {f"K = {size}": gigabytes for size, gigabytes in published_memory().items()}
    variants = [*map(grid, map(int, published_memory())), *REGIONS]
    shown = track(variants, "measuring", console=Console(stderr=True), transient=True)
    measured = {v.name: measure_memory(v, arguments.batch, arguments.size, arguments.values) for v in shown}
    return memory_table(measured, published)


def duration(arguments: argparse.Namespace) -> str:
    batch = make_batch(arguments.batch, arguments.size, torch.device(arguments.device))
    steps = [make_step(variant, batch, PRECISIONS[arguments.precision], arguments.values) for variant in TIMED]
    return time_table([variant.name for variant in TIMED], measure_time(steps, arguments.rounds), arguments.batch)


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    subjects = parser.add_subparsers(dest="subject", required=True)
    for name, measure, images, about in (
        ("memory", memory, 4, "bytes that autograd keeps"),
        ("time", duration, 16, "seconds and operations of a step"),
    ):
        subject = subjects.add_parser(name, help=about)
        subject.set_defaults(measure=measure, device="cpu", precision="32", rounds=1)
        subject.add_argument("--batch", type=int, default=images, help="number of images; batch norm needs at least 2")
        subject.add_argument("--size", type=int, default=224, help="side of the views in pixels")
        subject.add_argument("values", nargs="*", help="values of the config, as for python -m src.train")
    subject.add_argument("--rounds", type=int, default=5, help="number of rounds; each does every kind of step once")
    subject.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    subject.add_argument("--precision", choices=PRECISIONS, default="32")
    arguments = parser.parse_args(words)
    if arguments.batch < 2 or arguments.size < 1 or arguments.rounds < 1:
        parser.error("expected --batch from 2, --size and --rounds from 1")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("expected a GPU for --device cuda, and torch finds none")
    return arguments


def main(words: Sequence[str] | None = None) -> None:
    hush_libraries()
    arguments = parse(words)
    try:
        print(arguments.measure(arguments))
    except CompactHydraException as error:
        raise SystemExit(f"benchmark.py: {error}") from None
    machine = torch.cuda.get_device_name() if arguments.device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(
        f"\nbatch {arguments.batch}, {arguments.size} px, precision {arguments.precision}"
        f"{''.join(f', {value}' for value in arguments.values)}; {machine}, {platform.machine()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


if __name__ == "__main__":
    main()
