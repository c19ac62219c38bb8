"""k-means of PiCIE's features: each backend beside faiss, and the quality that it reaches.

OMP_NUM_THREADS=1 python -m benchmarks.clustering
"""

import argparse
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measuring import Row, in_turn, machine, markdown, times_table
from src.clustering import Backend, fit_centroids

GOAL = 1.0  # of faiss
CHANNELS, BLOBS = 128, 60
SIZES = ((100_000, 27), (100_000, 128))  # rows and clusters


def blobs(rows: int) -> Tensor:
    """Features (rows, 128) of length 1 around many centres, which overlap."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(BLOBS, CHANNELS, generator=generator)
    noise = torch.randn(rows, CHANNELS, generator=generator)
    return F.normalize(centres[torch.randint(BLOBS, (rows,), generator=generator)] + noise, dim=1)


def inertia(rows: Tensor, centroids: Tensor) -> float:
    """The mean of the squared distances of the rows to the nearest centroid."""
    parts = (rows[start : start + 8192] for start in range(0, len(rows), 8192))
    return sum((float(torch.cdist(part, centroids).min(1).values.square().sum()) for part in parts), 0.0) / len(rows)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args(words)
    backends: list[Backend] = [each for each in get_args(Backend) if each != "faiss" or find_spec("faiss")]
    missing = (
        "" if "faiss" in backends else f"\n\nratio to faiss, at most {GOAL:g}: not measured: faiss is not installed"
    )
    rows, quality = [], []
    for number, clusters in SIZES:
        values = blobs(number)
        times = in_turn({each: partial(fit_centroids, values, clusters, 0, each) for each in backends}, asked.rounds)
        beside = times.get("faiss")
        for each in sorted(backends):
            name = f"{each}, {clusters} clusters"
            goal = GOAL if each == "torch" and beside else None
            rows.append(Row(name, times[each], None if each == "faiss" else beside, goal))
            quality.append([name, f"{inertia(values, fit_centroids(values, clusters, 0, each)):.4f}"])
    print(f"{times_table('k-means', rows)}\n\n{markdown(['k-means', 'mean squared distance'], quality)}{missing}")
    print(f"\n{SIZES[0][0]:,} rows of {CHANNELS} channels; {machine()}")


if __name__ == "__main__":
    main()
