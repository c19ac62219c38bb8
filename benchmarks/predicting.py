"""Compares `src.predict` on a folder with the network alone on the same images in memory, per image.

    python -m benchmarks.predicting
trains a tiny network on generated scenes for a moment and predicts scenes with it. For another checkpoint and a folder:
    OMP_NUM_THREADS=2 python -m benchmarks.predicting --checkpoint FILE --folder DIR
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from itertools import groupby
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the commands do, before torch is imported

import torch
from PIL import Image

from benchmarks.measuring import Row, in_turn, machine, times_table
from src.api import train
from src.console import hush_libraries
from src.data.scenes import render
from src.prediction.files import Work, predict_files
from src.prediction.listing import list_inputs, result_names
from src.prediction.loading import load_segmenter
from src.prediction.map_files import MapJob
from src.prediction.map_results import MapResults
from src.prediction.segmenter import Segmenter

SHORT = ("experiment=demo", "data.train_scenes=32", "data.val_scenes=5", "trainer.max_epochs=1", "protocol.resamples=0")
SCENES, SIDE = 24, 320


def small_checkpoint(folder: Path) -> Path:
    """Train the demo's network for one epoch on a few scenes."""
    with redirect_stdout(sys.stderr):
        return train(*SHORT, output=folder).folder / "checkpoints" / "last.ckpt"


def draw_scenes(folder: Path) -> Path:
    """Write generated scenes as PNG files."""
    folder.mkdir()
    for place in range(SCENES):
        Image.fromarray(render(0, place, SIDE)[0]).save(folder / f"{place}.png")
    return folder


@torch.inference_mode()
def bare(segmenter: Segmenter, batches: list[torch.Tensor]) -> None:
    """The network alone on batches (B, 3, H, W)."""
    for batch in batches:
        segmenter.network(batch)


def measure(asked: argparse.Namespace, folder: Path) -> str:
    """The table; results are written below `folder`."""
    segmenter = load_segmenter(str(asked.checkpoint or small_checkpoint(folder / "run")))
    settings = segmenter.settings(side=asked.side)
    listed = list_inputs(str(asked.folder or draw_scenes(folder / "scenes")), folder)
    paths = {place: listed.root / name for place, name in enumerate(listed.names)}
    results = MapResults(folder, segmenter.clusters[settings.head], not asked.no_overlays, with_arrays=False)
    work = Work(MapJob(segmenter, settings, results, ()), paths, result_names(listed.names))
    prepared = sorted((work.read(place).prepared for place in paths), key=lambda image: tuple(image.shape))
    alike = [list(group) for _, group in groupby(prepared, key=lambda image: image.shape)]
    size, threads = asked.batch_size, asked.num_threads
    batches = [torch.stack(group[start : start + size]) for group in alike for start in range(0, len(group), size)]
    runs = {
        "network alone": lambda: bare(segmenter, batches),
        "src.predict": lambda: predict_files(work, size, threads, lambda done: None),
    }
    times = {name: each.per(len(prepared)) for name, each in in_turn(runs, asked.rounds).items()}
    alone, whole = times.values()
    table = times_table("an image", [Row("network alone", alone), Row("src.predict", whole, alone)])
    setting = f"{len(prepared)} images, side {settings.side}, batches of {size}, {threads} threads in src.predict"
    return f"{table}\n\n{setting}; alone: {machine()}"


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint of a segmentation run")
    parser.add_argument("--folder", help="a folder or pattern of images")
    parser.add_argument("--side", type=int, default=None, help="shorter side for the network, in pixels")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--num-threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-overlays", action="store_true", help="write label maps only")
    asked = parser.parse_args(words)
    hush_libraries()
    with tempfile.TemporaryDirectory() as folder:
        print(measure(asked, Path(folder)))


if __name__ == "__main__":
    main()
