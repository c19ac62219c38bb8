"""What `benchmarks.growth` measures: steps, and work with files, of a given size."""

import socket
from collections.abc import Callable
from functools import partial
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed
import torch.multiprocessing as mp

from benchmarks.measuring import in_turn
from benchmarks.pretraining_steps import Variant, make_batch, variant_step
from benchmarks.tasks import make_step, make_task
from src.console import hush_libraries
from src.data.sampling import ShuffledSampler
from src.images.file_list import FileList
from src.images.listing import list_images

SMALL = ("model/encoder=resnet18_half", "model.hidden_channels=64", "model.image_channels=64")
POINTS = (*SMALL, "model.image_bottleneck=16", "model.num_categories=64", "model.grid_position=before_projector")
SEGMENT = ("experiment=coco_seg", "data=scenes", "model/encoder=resnet18_half", "task.region_start=0")
CPU = torch.device("cpu")
FOLDER_SIZE = 1000  # files of a folder, as in ImageNet


def pretraining(grid_size: int) -> Callable[[], None]:
    """A step of pre-training with every loss, with K x K points."""
    variant = Variant("", (*POINTS, f"model.grid_size={grid_size}", "task.region_start=0"))
    return variant_step(variant, make_batch(4, 64), CPU, False, ())


def segmentation(
    num_categories: int = 27, num_aux_categories: int = 128, side: int = 96, images: int = 4
) -> Callable[[], None]:
    """A step of unsupervised segmentation with every loss."""
    sizes = [f"model.num_categories={num_categories}", f"model.num_aux_categories={num_aux_categories}"]
    task = make_task([*SEGMENT, *sizes, "protocol.matching=majority"])
    return partial(make_step(task, CPU), make_batch(images, side))


def names(count: int) -> list[str]:
    """Names of files as ImageNet's: in folders of a thousand."""
    return [f"n{place // FOLDER_SIZE:08d}/n{place:09d}.JPEG" for place in range(count)]


def sampler(count: int) -> Callable[[], None]:
    """An epoch's order of so many images."""
    order = ShuffledSampler(count, batch_size=100, seed=0, rank=0, processes=1)

    def run() -> None:
        for _ in order:
            pass

    return run


def read_names(count: int) -> Callable[[], object]:
    """The list of so many files, and a look at each of its thousandths."""
    given = names(count)

    def run() -> int:
        files = FileList.from_names(Path("images"), given)
        return sum(len(files[place].name) for place in range(0, count, max(1, count // 1000)))

    return run


def list_folder(root: Path, count: int) -> Callable[[], object]:
    """Listing a folder of so many empty files, which are made below `root`."""
    folder = root / str(count)
    for name in names(count):
        path = folder / name
        if name.endswith("000.JPEG"):
            path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return lambda: list_images(folder)


def between_processes(count: int, rounds: int) -> float:
    """Processor seconds of a step of each of so many processes, which share their gradients over gloo."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    queue: SimpleQueue[float] = mp.get_context("spawn").SimpleQueue()
    spawning: Any = mp  # it has no types
    spawning.start_processes(_process, args=(count, port, rounds, queue), nprocs=count, start_method="spawn")
    return median(queue.get() for _ in range(count))


def _process(rank: int, count: int, port: int, rounds: int, queue: Any) -> None:
    hush_libraries()
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=count)
    step = segmentation()
    gradients = torch.zeros(11_509_622)  # as many as the network with a whole ResNet-18 has

    def run() -> None:
        step()
        torch.distributed.all_reduce(gradients)

    queue.put(median(in_turn({"step": run}, rounds)["step"].processor))
    torch.distributed.destroy_process_group()
