"""Matching and scores against the release's numbers."""

import numpy as np
import pytest
import torch
from torch import Tensor

from src.evaluation.scoring import Scoring
from src.metrics import Category, class_iou, confusion_matrix, match, release_block_scores
from tests.conftest import Golden

COCO27 = [Category(str(k), "thing" if k < 12 else "stuff") for k in range(27)]
CASES = ["random", "perm", "absent"]


def golden_pixels(case: dict[str, np.ndarray], name: str) -> tuple[Tensor, Tensor]:
    """All labels and predictions of a golden case; its label 27 is a value that the release skips."""
    suffixes = ["0", "1"] if name == "random" else [""]
    label = np.concatenate([case[f"{name}.label{suffix}"] for suffix in suffixes])
    prediction = np.concatenate([case[f"{name}.pred{suffix}"] for suffix in suffixes])
    return torch.from_numpy(np.where(label == 27, 255, label)), torch.from_numpy(prediction)


@pytest.mark.parametrize("name", CASES)
def test_golden_matrix_and_matching(golden: Golden, name: str) -> None:
    case = golden("evaluator")
    label, prediction = golden_pixels(case, name)
    confusion = confusion_matrix(label, prediction, 27, 27)
    np.testing.assert_array_equal(confusion.numpy(), case[f"{name}.conf"])
    mapping = match(confusion, "hungarian")
    np.testing.assert_array_equal(mapping.argsort().numpy(), case[f"{name}.match_col"])
    np.testing.assert_array_equal(confusion[mapping].numpy(), case[f"{name}.new_hist"])


@pytest.mark.parametrize("name", CASES)
def test_golden_scores(golden: Golden, name: str) -> None:
    case = golden("evaluator")
    label, prediction = golden_pixels(case, name)
    scoring = Scoring(COCO27, 27, "hungarian")
    scoring.update(prediction[None], label[None], torch.tensor([0]))
    found = scoring.compute()
    full = f"{name}.notofficial_full_confusion"
    expected = {
        "mIoU": case[f"{name}.official.mIoU"],
        "accuracy": case[f"{name}.official.aAcc"],
        "mean_accuracy": case[f"{name}.official.mAcc"],
        "mIoU_thing": case[f"{full}.mIoU_th"],
        "mIoU_stuff": case[f"{full}.mIoU_st"],
    }
    assert found == pytest.approx({key: float(value) for key, value in expected.items()}, abs=1e-9)
    np.testing.assert_allclose(
        class_iou(scoring.total, scoring.mapping), case[f"{name}.notofficial_by_true_class.IoU"], atol=1e-9
    )


@pytest.mark.parametrize("name", CASES)
def test_golden_release_blocks(golden: Golden, name: str) -> None:
    case = golden("evaluator")
    confusion = torch.from_numpy(case[f"{name}.conf"])
    found = release_block_scores(confusion, match(confusion, "hungarian"), num_things=12)
    names = {"mIoU": "mIoU", "accuracy": "aAcc", "mean_accuracy": "mAcc"}
    expected = {
        f"release_block_{ours}_{kind}": float(case[f"{name}.official.{theirs}_{short}"])
        for ours, theirs in names.items()
        for kind, short in (("thing", "th"), ("stuff", "st"))
    }
    assert found == pytest.approx(expected, abs=1e-9)
