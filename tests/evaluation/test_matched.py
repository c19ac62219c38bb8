"""The classes of clusters in plain values: written and read back, and refused if they were changed."""

import json
from typing import Any

import pytest
import torch

from src.evaluation.matched import Matched, matched_by, read_matched
from src.evaluation.scoring import Scoring
from tests.factories import CLASSES
from tests.refusals import refusal


@pytest.fixture
def matched() -> Matched:
    scoring = Scoring(CLASSES, 4, "hungarian")
    assert matched_by(scoring, "main") is None
    label, clusters = torch.tensor([[[0, 0, 1, 2]]]), torch.tensor([[[3, 3, 0, 1]]])
    scoring.update(clusters, label, torch.tensor([0]))
    scoring.compute()
    found = matched_by(scoring, "main")
    assert found is not None
    return found


def test_what_was_matched(matched: Matched) -> None:
    assert matched.class_of_cluster == [1, 2, -1, 0]
    assert matched.confusion == [[0, 0, 0, 2], [1, 0, 0, 0], [0, 1, 0, 0]]


def test_it_is_read_back(matched: Matched) -> None:
    assert read_matched(json.loads(json.dumps(matched.plain())), "file") == matched._replace(classes=list(CLASSES))


@pytest.mark.parametrize(
    "change",
    [
        {"head": "other"},
        {"method": "guess"},
        {"classes": [{"name": 7, "kind": "stuff"}] * 3},
        {"classes": [{"name": "sky", "kind": "place"}] * 3},
        {"classes": "sky"},
        {"class_of_cluster": [3, 0, 0, 0]},
        {"class_of_cluster": [0.0, 1, 2, -1]},
        {"class_of_cluster": [0, 1]},
        {"confusion": [[1, 2, 3, 4]]},
        {"confusion": [[-1, 0, 0, 0]] * 3},
        {"more": 1},
        {"classes": [], "confusion": [], "class_of_cluster": [-1] * 4},
        {"class_of_cluster": [], "confusion": [[]] * 3},
        {"classes": [{"name": "x" * 1000, "kind": "stuff"}] * 3},
        {"confusion": [[10**30, 0, 0, 0]] * 3},
    ],
)
def test_other_values_are_refused(matched: Matched, change: dict[str, Any]) -> None:
    refusal(lambda: read_matched(matched.plain() | change, "x.ckpt"), "x.ckpt is damaged")


@pytest.mark.parametrize("content", [None, 3, [], {}, "text"])
def test_no_matching_at_all(content: Any) -> None:
    refusal(lambda: read_matched(content, "x.ckpt"), "x.ckpt is damaged")
