"""The metrics without labels against loops, scikit-learn and values worked out by hand."""

import math
from collections import Counter
from itertools import pairwise

import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score

from src.monitoring.label_free import PairStatistics, consistency, entropies, joint_counts, mutual_information
from tests.embeddings import AGREEING_CHANNELS, Step, agreeing, metrics_of


def naive(*steps: Step) -> dict[str, float]:
    """Place by place, in Python's floats."""
    winners: tuple[list[int], list[int]] = ([], [])
    certainty = []
    for *views, valid in steps:
        for found, view in zip(winners, views, strict=True):
            for image in view[valid].double().tolist():
                for logits in image:
                    found.append(logits.index(max(logits)))
                    exps = [math.exp(value) for value in logits]
                    shares = [value / sum(exps) for value in exps]
                    certainty.append(-sum(share * math.log(share) for share in shares if share) / math.log(len(logits)))
    first, second = winners
    used = [count / (2 * len(first)) for count in Counter(first + second).values()]
    return {
        "consistency": sum(a == b for a, b in zip(first, second, strict=True)) / len(first),
        "mutual_information": float(normalized_mutual_info_score(first, second)),
        "entropy": sum(certainty) / len(certainty),
        "balance": -sum(share * math.log(share) for share in used) / math.log(steps[0][0].shape[-1]),
    }


def test_an_epoch_equals_the_loop() -> None:
    steps = [agreeing(seed, images) for seed, images in enumerate((6, 1, 4))]
    found = metrics_of(*steps)
    assert found is not None
    assert found._asdict() == pytest.approx(naive(*steps), rel=1e-5)
    assert all(0.1 < value < 0.9 for value in found)


def test_by_hand() -> None:
    """Four places of two categories: three agree; the first view has 2 + 2 winners, the second 1 + 3."""
    joint = torch.tensor([[1, 1], [0, 2]])
    first, second = math.log(2), -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    both = 1.5 * math.log(2)  # of 1/4, 1/4, 1/2
    assert consistency(joint) == 0.75
    assert mutual_information(joint) == pytest.approx((first + second - both) / ((first + second) / 2))
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3)], [0.0, 800.0]])
    assert entropies(logits).tolist() == pytest.approx([1.0, second / math.log(2), 0.0])


def test_counts_by_hand() -> None:
    first, second = torch.eye(3)[[0, 0, 2, 1]], torch.eye(3)[[0, 1, 2, 1]]
    counted = torch.tensor([True, True, True, False])
    assert joint_counts(first, second, counted).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("joint", "expected"),
    [
        ([[8, 0], [0, 0]], 0.0),  # collapsed: agrees everywhere, says nothing
        ([[5, 3], [0, 0]], 0.0),
        ([[4, 2], [2, 1]], 0.0),  # independent: agrees by chance in 5 of 9
        ([[3, 0], [0, 2]], 1.0),
        ([[0, 3], [2, 0]], 1.0),  # never the same, and yet one follows from the other
    ],
)
def test_neither_collapse_nor_chance_is_information(joint: list[list[int]], expected: float) -> None:
    assert mutual_information(torch.tensor(joint)) == pytest.approx(expected, abs=1e-12)


def test_many_places_are_not_lost_in_rounding() -> None:
    """A sum in float32 stops to grow at 2^24; the mean of equal steps is that of one."""
    statistics = PairStatistics(AGREEING_CHANNELS, torch.device("cpu"))
    step = agreeing(0, 4)
    statistics.add(*step)
    once = statistics.metrics(lambda value: value)
    statistics.joint *= 10**9
    statistics.places *= 10**9
    for _ in range(100):
        statistics.add(*step)
    found = statistics.metrics(lambda value: value)
    assert once is not None
    assert found is not None
    assert found == pytest.approx(once, rel=1e-6)


def test_halves_of_the_batch_add_up() -> None:
    first, second, valid = agreeing(3, 8)
    halves = [PairStatistics(AGREEING_CHANNELS, torch.device("cpu")) for _ in "ab"]
    for half, part in zip(halves, (slice(0, 3), slice(3, 8)), strict=True):
        half.add(first[part], second[part], valid[part])
    ready = [[half.joint.clone(), half.entropy * half.places] for half in halves]
    totals = iter([one + other for one, other in zip(*ready, strict=True)])
    assert halves[0].metrics(lambda value: next(totals)) == pytest.approx(metrics_of((first, second, valid)), rel=1e-6)


def test_nothing_valid_is_nothing() -> None:
    first, second, valid = agreeing(0, 3)
    assert metrics_of((first, second, torch.zeros_like(valid))) is None
    kept = [metrics_of((first, second, valid)), metrics_of((first, second, ~valid), (first, second, valid))]
    assert kept[0] != kept[1]


def test_sharper_logits_lower_the_entropy_and_nothing_else() -> None:
    first, second, valid = agreeing(5, 6)
    found = [metrics_of((scale * first, scale * second, valid)) for scale in (0.5, 1, 2)]
    assert all(one and other and one.entropy > other.entropy for one, other in pairwise(found))
    assert len({one and (one.consistency, one.mutual_information, one.balance) for one in found}) == 1


def test_one_category_says_nothing() -> None:
    found = metrics_of((torch.zeros(2, 3, 1), torch.zeros(2, 3, 1), torch.ones(2, dtype=torch.bool)))
    assert found is not None
    assert found.consistency == 1
    assert all(math.isnan(value) for value in found[1:])
