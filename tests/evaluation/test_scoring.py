"""Scores of predictions against labels: what is counted adds up, over images and over processes."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from src.errors import DenseSiamError
from src.evaluation.scoring import Scoring
from src.metrics import Category, match, scores
from tests.processes import in_two_processes

THREE = (Category("sky", "stuff"), Category("ground", "stuff"), Category("cat", "thing"))


def test_too_few_clusters_and_unknown_matchings_fail_at_once() -> None:
    with pytest.raises(DenseSiamError, match="2 clusters and 3 classes"):
        Scoring(THREE, 2, "hungarian")
    with pytest.raises(DenseSiamError, match="found 'best'"):
        Scoring(THREE, 3, "best")
    with pytest.raises(DenseSiamError, match="found 4 outputs and 3 classes"):
        Scoring(THREE, 4, "identity")
    assert Scoring(THREE, 2, "majority").total.shape == (3, 2)


def seeded_images(count: int) -> tuple[Tensor, Tensor]:
    """(prediction, label), each (count, 8, 8), with 4 clusters and 3 classes that are related."""
    generator = torch.Generator().manual_seed(1)
    label = torch.randint(0, 3, (count, 8, 8), generator=generator)
    noise = torch.randint(0, 4, label.shape, generator=generator)
    prediction = torch.where(torch.rand(label.shape, generator=generator) < 0.5, 2 - label, noise)
    label[:, 0] = 255
    return prediction, label


def test_what_is_counted_adds_up_and_is_forgotten() -> None:
    prediction, label = seeded_images(5)
    whole, parts = Scoring(THREE, 4, "hungarian"), Scoring(THREE, 4, "hungarian")
    whole.update(prediction, label, torch.arange(5))
    for k in range(5):
        parts.update(prediction[k : k + 1], label[k : k + 1], torch.tensor([k]))
    assert parts.compute() == whole.compute() == scores(whole.total, whole.mapping, THREE)
    assert parts.total.dtype == torch.int64
    assert parts.total.sum() == 5 * 7 * 8
    assert pickle.loads(pickle.dumps(parts)).compute() == whole.compute()
    before = parts.mapping.tolist()
    parts.reset()
    parts.update((prediction + 1) % 4, label, torch.arange(5))  # after a reset nothing of the old matching is left
    parts.compute()
    assert parts.mapping.tolist() == [before[k - 1] for k in range(4)]


def scored_share(rank: int) -> tuple[dict[str, float], list[list[int]], list[int]]:
    """Scores of five images, three here and two there; total and mapping."""
    prediction, label = seeded_images(5)
    scoring = Scoring(THREE, 4, "hungarian")
    for k in range(rank, 5, 2):
        scoring.update(prediction[k : k + 1], label[k : k + 1], torch.tensor([k]))
    return scoring.compute(), scoring.total.tolist(), scoring.mapping.tolist()


def test_two_processes_equal_one(tmp_path: Path) -> None:
    prediction, label = seeded_images(5)
    single = Scoring(THREE, 4, "hungarian")
    single.update(prediction, label, torch.arange(5))
    expected = single.compute()
    for found, total, mapping in in_two_processes(scored_share, tmp_path):
        assert found == expected
        assert total == single.total.tolist()
        assert mapping == match(single.total, "hungarian").tolist()


def test_labels_without_a_counted_pixel_are_refused() -> None:
    scoring = Scoring(THREE, 4, "hungarian")
    prediction, label = seeded_images(1)
    scoring.update(prediction, torch.full_like(label, 255), torch.arange(1))
    with pytest.raises(DenseSiamError, match="no pixel was scored"):
        scoring.compute()
