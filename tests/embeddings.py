"""Made-up embeddings, and the obvious way to measure them."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from src.monitoring.label_free import LabelFreeMetrics, PairStatistics

Views = tuple[Tensor, Tensor]
Step = tuple[Tensor, Tensor, Tensor]  # two views, and which images are valid
AGREEING_CHANNELS = 5


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(seed: int, images: int, points: int) -> Views:
    """Both views of a dense branch with 6 channels, one of which never wins."""
    scale = torch.tensor([3.0, 1.0, 1.0, 0.5, 0.2, 0.1])
    values = scale * torch.randn(2, images, points, 6, generator=seeded(seed)) + 0.3
    values[..., 5] = values[..., :5].amin(dim=-1) - 0.1
    return values[0], values[1]


def naive(steps: Sequence[Sequence[Tensor]]) -> dict[str, float | int | None]:
    """`Health`, from all rows at once."""
    rows = np.concatenate([view.flatten(0, -2).double().numpy() for views in steps for view in views])
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    energy = np.linalg.svd(unit - unit.mean(axis=0), compute_uv=False) ** 2
    shares = energy / energy.sum()
    wins = np.bincount(rows.argmax(axis=1), minlength=rows.shape[1])
    used = wins[wins > 0] / wins.sum()
    return {
        "images": sum(len(views[0]) for views in steps),
        "channels": rows.shape[1],
        "spread": float(unit.std(axis=0).mean() * math.sqrt(rows.shape[1])),
        "effective_rank": float(np.exp(-(shares * np.log(shares)).sum())),
        "category_entropy": float(-(used * np.log(used)).sum() / np.log(len(wins))),
        "dead_categories": int((wins == 0).sum()),
    }


def agreeing(seed: int, images: int, points: int = 7) -> Step:
    """Views (B, P, N) that agree more than by chance; the last category never wins, the second image is not valid."""
    generator = torch.Generator().manual_seed(seed)
    shared = 1.5 * torch.randn(images, points, AGREEING_CHANNELS, generator=generator)
    first, second = (shared + torch.randn(images, points, AGREEING_CHANNELS, generator=generator) for _ in "ab")
    for view in (first, second):
        view[..., -1] = -9
    valid = torch.ones(images, dtype=torch.bool)
    valid[1:2] = False
    return first, second, valid


def metrics_of(*steps: Step) -> LabelFreeMetrics | None:
    """`LabelFreeMetrics` of all these steps together."""
    statistics = PairStatistics(steps[0][0].shape[-1], torch.device("cpu"))
    for step in steps:
        statistics.add(*step)
    return statistics.metrics(lambda value: value)
