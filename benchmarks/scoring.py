"""What scoring takes beside the forward pass: upsampling, argmax and confusion matrices, per image of 320 x 320 pixels.

OMP_NUM_THREADS=1 python -m benchmarks.scoring
"""

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.measuring import Row, in_turn, machine, times_table
from benchmarks.plain_evaluator import plain_matrices
from src.evaluation.bootstrap import PerImage
from src.evaluation.inference import predict_labels
from src.metrics import Category

GOAL, IMAGES, SIDE, CLASSES = 0.4, 8, 320, 27


def make_batch(images: int, clusters: int) -> tuple[Tensor, Tensor]:
    """Logits (B, N, 80, 80) as the network gives them, and labels (B, 320, 320) of which a tenth is ignored."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(images, clusters, SIDE // 4, SIDE // 4, generator=generator)
    label = torch.randint(CLASSES, (images, SIDE, SIDE), generator=generator)
    return logits, label.masked_fill(torch.rand(label.shape, generator=generator) < 0.1, 255)


def our_counts(logits: Tensor, label: Tensor, classes: int) -> PerImage:
    """The counts of a batch, as a validation step of a task makes them."""
    counts = PerImage([Category(str(each), "stuff") for each in range(classes)], logits.shape[1], "hungarian")
    clusters = predict_labels(logits, (label.shape[1], label.shape[2]))
    counts.update(clusters, label, torch.arange(len(label)))
    return counts


def rows(clusters: int, rounds: int) -> list[Row]:
    """Both programs with so many pseudo-categories."""
    logits, label = make_batch(IMAGES, clusters)
    runs = {
        "plain": lambda: plain_matrices(logits, label, CLASSES, clusters),
        "ours": lambda: our_counts(logits, label, CLASSES),
    }
    times = {name: each.per(IMAGES) for name, each in in_turn(runs, rounds).items()}
    return [
        Row(f"written as the release, {clusters} clusters", times["plain"]),
        Row(f"ours, {clusters} clusters", times["ours"], times["plain"], GOAL),
    ]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args(words)
    print(times_table("scoring an image", [*rows(CLASSES, asked.rounds), *rows(128, asked.rounds)]))
    print(f"\n{IMAGES} images of {SIDE} px, {CLASSES} classes; {machine()}")


if __name__ == "__main__":
    main()
