"""k-NN label propagation against a loop over cells, and values worked out by hand."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from src.evaluation import neighbours
from src.evaluation.neighbours import NearestCells, NeighbourSettings
from src.evaluation.probing import Cells
from tests.factories import noise
from tests.refusals import refusal


def cells(count: int, classes: int = 3) -> Cells:
    return Cells(noise(count, 5), noise(count, classes, seed=1).softmax(dim=1), torch.ones(count))


def loop(memory: Cells, features: Tensor, number: int, temperature: float) -> Tensor:
    """The definition, one position and one neighbour after the other."""
    batch, _, height, width = features.shape
    found = torch.zeros(batch, memory.shares.shape[1], height, width)
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                alike = []
                for place, other in enumerate(memory.features.tolist()):
                    own = features[b, :, y, x].tolist()
                    product = sum(p * q for p, q in zip(own, other, strict=True))
                    alike.append((product / math.hypot(*own) / math.hypot(*other), place))
                nearest = sorted(alike, reverse=True)[:number]
                weights = [math.exp(similarity / temperature) for similarity, _ in nearest]
                for weight, (_, place) in zip(weights, nearest, strict=True):
                    found[b, :, y, x] += weight / sum(weights) * memory.shares[place]
    return found


@pytest.mark.parametrize(("number", "temperature"), [(1, 0.02), (4, 0.1), (1000, 1.0)])
def test_it_is_the_loop(number: int, temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
    memory, features = cells(23), noise(2, 5, 3, 4, seed=2)
    probe = NearestCells(memory, NeighbourSettings(number, temperature))
    expected = loop(memory, features, number, temperature)
    torch.testing.assert_close(probe(features), expected)
    monkeypatch.setattr(neighbours, "MOST_SIMILARITIES", 50)  # two positions at a time
    torch.testing.assert_close(probe(features), expected)
    torch.testing.assert_close(probe(7 * features), expected)  # directions only


def test_a_cell_of_the_memory_gets_its_own_labels() -> None:
    memory = cells(50)
    shares = NearestCells(memory, NeighbourSettings(30, 1e-4))(memory.features.T[None, :, :, None])
    torch.testing.assert_close(shares[0, :, :, 0].T, memory.shares)


def test_two_neighbours_by_hand() -> None:
    """Similarities 1 and 0, temperature 1: weights e and 1; the third cell is opposite and not among the nearest."""
    memory = Cells(torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), torch.eye(3), torch.ones(3))
    shares = NearestCells(memory, NeighbourSettings(2, 1.0))(torch.tensor([5.0, 0.0]).view(1, 2, 1, 1))
    assert shares.flatten().tolist() == pytest.approx([math.e / (math.e + 1), 1 / (math.e + 1), 0.0])


def test_cells_without_labels_are_left_out() -> None:
    memory = cells(20)
    weight = torch.ones(20)
    weight[::2] = 0
    kept = Cells(*(part[1::2] for part in memory))
    features, settings = noise(1, 5, 2, 2, seed=3), NeighbourSettings(5, 0.1)
    found = NearestCells(memory._replace(weight=weight), settings)(features)
    torch.testing.assert_close(found, NearestCells(kept, settings)(features))
    refusal(lambda: NearestCells(memory._replace(weight=torch.zeros(20)), settings), "found 0 labelled cells")
    broken = memory._replace(features=torch.full((20, 5), math.nan))
    refusal(lambda: NearestCells(broken, settings), "expected labelled cells with finite features")


@pytest.mark.parametrize(
    ("number", "temperature", "named"),
    [(0, 0.1, "neighbours.number is 0"), (2.0, 0.1, "neighbours.number"), (3, 0, "neighbours.temperature is 0")],
)
def test_values_out_of_range_are_named(number: Any, temperature: Any, named: str) -> None:
    refusal(lambda: NeighbourSettings(number, temperature), named)
