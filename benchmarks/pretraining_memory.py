"""Memory of a pre-training step, compared with a step of SimSiam. No data is needed: the images are noise.

Memory that autograd keeps for the backward pass, for each K of Table 4a and for RegionSim. The parts are those of
torch's layers, as on a GPU, where the paper measured; on a CPU, the batch norms of `src.models.frugal` keep less:
    python -m benchmarks.pretraining_memory
Values of the config can be added at the end, such as `model/encoder=resnet18 model.encoder.output_stride=8`.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from hydra.errors import CompactHydraException
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from benchmarks.measuring import machine, markdown
from benchmarks.pretraining_steps import REGIONS, Variant, grid, make_batch, parser, setting
from src.console import hush_libraries
from src.models.frugal import as_layers

TABLE_4 = Path(__file__).resolve().parent.parent / "scripts" / "published" / "table4.yaml"
MB = 1e6
BRANCHES = {"encoder": "encoder", "image branch": "image_head", "pixel branch": "head", "region branch": "region_head"}


@dataclass(eq=False)
class Kept:
    """A tensor that autograd keeps for the backward pass, and the part of the network that saved it."""

    tensor: Tensor
    part: str


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


def measure_memory(
    variant: Variant, images: int, side: int, values: Sequence[str], layers: bool = True
) -> dict[str, float]:
    """Bytes per image (both views together) of each of `BRANCHES`, and of the rest, which is sampling and losses.

    Args:
        variant: the kind of step.
        images, side: size of the batch and of the views.
        values: further values of the config.
        layers: whether torch's layers are applied as on a GPU, see `src.models.frugal.as_layers`.
    """
    task = variant.task(values)
    batch = make_batch(images, side)
    with as_layers() if layers else nullcontext():
        found = kept_bytes(task.network, lambda: task.training_step(batch, 0)["loss"])
    parts = {branch: found.pop(part, 0) / images for branch, part in BRANCHES.items()}
    return {**parts, "rest": found.total() / images}


def published_memory() -> dict[str, float]:
    """The memory in GB that the paper's Table 4a gives for each K."""
    table = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(TABLE_4)))["tables"]["table4a"]
    return {row["name"]: row["published"][table["columns"].index("Mem. GB")] for row in table["rows"]}


def memory_table(
    measured: Mapping[str, Mapping[str, float]], on_cpu: Mapping[str, float], published: Mapping[str, float]
) -> str:
    """The memory as a Markdown table, in which all rows are compared with the first.

    Args:
        measured: result of `measure_memory` for each step, by its name.
        on_cpu: the bytes that are kept on a CPU, by the same names.
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
        rows.append([name, f"{total / MB:.2f}", f"{total / least - 1:.2%}", *sizes, f"{on_cpu[name] / MB:.2f}"])
        rows[-1] += theirs or ["-", "-"]
    return markdown(["step", "MB per image", "more", *measured[first], "on a CPU", "paper's GB", "more"], rows)


def main(words: Sequence[str] | None = None) -> None:
    hush_libraries()
    options = parser(__doc__, images=4)
    asked = options.parse_args(words)
    if asked.batch < 2 or asked.size < 1:
        options.error("expected --batch from 2, --size from 1")
    published = {f"K = {size}": gigabytes for size, gigabytes in published_memory().items()}
    variants = [*map(grid, map(int, published_memory())), *REGIONS]
    try:
        given = asked.batch, asked.size, asked.values
        measured = {each.name: measure_memory(each, *given) for each in variants}
        on_cpu = {each.name: sum(measure_memory(each, *given, layers=False).values()) for each in variants}
    except CompactHydraException as error:
        raise SystemExit(f"benchmarks.pretraining_memory: {error}") from None
    print(f"{memory_table(measured, on_cpu, published)}\n\n{setting(asked)}; {machine()}")


if __name__ == "__main__":
    main()
