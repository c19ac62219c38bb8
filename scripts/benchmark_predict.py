"""Compares the speed of `src.predict` on a folder with that of the network alone on the same images in memory.

    python scripts/benchmark_predict.py FILE DIR

prints images per second of both, and the ratio, minimum, median and maximum over rounds that alternate.
"""

import argparse
import os
import statistics
import tempfile
import time
from itertools import groupby
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the commands do, before torch is imported

import torch

from src.console import hush_libraries
from src.prediction.files import Work, predict_files
from src.prediction.listing import list_inputs, result_names
from src.prediction.loading import load_segmenter
from src.prediction.map_files import MapJob
from src.prediction.map_results import MapResults
from src.prediction.segmenter import Segmenter


@torch.inference_mode()
def bare(segmenter: Segmenter, batches: list[torch.Tensor]) -> float:
    """Seconds that the network takes for batches (B, 3, H, W)."""
    started = time.perf_counter()
    for batch in batches:
        segmenter.network(batch)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a checkpoint of a segmentation run")
    parser.add_argument("folder", help="a folder of images")
    parser.add_argument("--side", type=int, default=None, help="shorter side for the network, in pixels")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--num-threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-overlays", action="store_true", help="write label maps only")
    asked = parser.parse_args()
    hush_libraries()

    segmenter = load_segmenter(asked.checkpoint)
    settings = segmenter.settings(side=asked.side)
    with tempfile.TemporaryDirectory() as folder:
        listed = list_inputs(asked.folder, Path(folder))
        paths = {place: listed.root / name for place, name in enumerate(listed.names)}
        results = MapResults(Path(folder), segmenter.clusters[settings.head], not asked.no_overlays, with_arrays=False)
        work = Work(MapJob(segmenter, settings, results, ()), paths, result_names(listed.names))
        prepared = [work.read(place).prepared for place in paths]
        prepared.sort(key=lambda image: tuple(image.shape))
        alike = [list(group) for _, group in groupby(prepared, key=lambda image: image.shape)]
        size = asked.batch_size
        batches = [torch.stack(group[start : start + size]) for group in alike for start in range(0, len(group), size)]
        images = len(prepared)
        alone, whole = [], []
        for _ in range(asked.rounds):
            alone.append(images / bare(segmenter, batches))
            started = time.perf_counter()
            predict_files(work, size, asked.num_threads, lambda done: None)
            whole.append(images / (time.perf_counter() - started))
    ratios = [one / other for one, other in zip(whole, alone, strict=True)]
    threads = f"{torch.get_num_threads()} threads alone, {asked.num_threads} in src.predict, batches of {size}"
    print(f"{images} images, side {settings.side}, {threads}")
    for name, values in (("network alone, images/s", alone), ("src.predict, images/s", whole), ("ratio", ratios)):
        print(f"{name}: {min(values):.2f} {statistics.median(values):.2f} {max(values):.2f} (minimum, median, maximum)")


if __name__ == "__main__":
    main()
