"""Merged categories of an over-clustering: when their groups are found, what is scored, what is deployed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from src.api import load
from src.assembly.train import train
from src.checkpoints.reading import read_checkpoint
from src.errors import DenseSiamError
from src.evaluation.inference import predict_labels
from src.tasks.segment import Segment
from tests.composing import TINY_EPOCHS, composed
from tests.factories import images, paper, segment_task

RUN = (*TINY_EPOCHS, "references=none", "trainer.max_epochs=1", "model.num_aux_categories=16")


class Given:
    """Training images, counting how often they were asked for."""

    def __init__(self) -> None:
        self.passes = 0

    def whole_train_dataloader(self, max_images: int, generator: torch.Generator) -> list[Tensor]:
        self.passes += 1
        return [images(2, 3, 64, 64), images(1, 3, 64, 64)]


def with_images(task: Segment, monkeypatch: pytest.MonkeyPatch) -> Given:
    trainer = SimpleNamespace(
        world_size=1, global_step=0, precision_plugin=SimpleNamespace(forward_context=torch.no_grad)
    )
    monkeypatch.setattr(Segment, "trainer", trainer)
    given = Given()
    task.prepare(given)
    return given


def batch() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    return {
        "image": images(2, 3, 64, 64),
        "label": torch.randint(0, 3, (2, 64, 64), generator=generator),
        "index": torch.arange(2),
    }


def test_both_heads_are_counted_as_if_each_were_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    task, given = segment_task(protocol=paper(flip=True)).eval(), batch()
    with_images(task, monkeypatch)
    with torch.no_grad():
        task.on_validation_epoch_start()
        own = task.validation_step(given, 0)

        def averaged(head: str) -> Tensor:
            one, other = (
                task.readout(task.network.features(x), head) for x in (given["image"], given["image"].flip(-1))
            )
            return predict_labels((one + other.flip(-1)) / 2, (64, 64))

        assert torch.equal(own, averaged("main"))
        task.merged_scoring.compute()
        confusion = torch.zeros(3, 4, dtype=torch.int64)
        for label, cluster in zip(given["label"].flatten(), averaged("merged").flatten(), strict=True):
            confusion[label, cluster] += 1
    assert torch.equal(task.merged_scoring.total, confusion)
    assert set(task.merging.groups.flatten().tolist()) == set(range(4))


def test_groups_are_found_once_for_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    task = segment_task()
    given = with_images(task, monkeypatch)
    for _ in range(2):
        task.find_groups()
    assert given.passes == 1
    assert task.training, "the mode of the task has changed"


def test_the_merged_head_is_scored_alone_on_request() -> None:
    task = segment_task(protocol=paper(head="merged"))
    assert task.extra_scorings == {}
    assert task.scoring.num_clusters == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"loss_weights": {"dense": 1.0, "region": 0.1, "seg": 1.0}},  # no auxiliary head
        {"num_categories": 12},  # more than the 10 of the auxiliary head
    ],
)
def test_without_enough_categories_nothing_is_merged(changes: dict[str, Any]) -> None:
    task = segment_task(**changes)
    assert task.merging is None
    assert task.extra_scorings == {}
    assert "merged" not in task.deployed().heads
    with pytest.raises(DenseSiamError, match=r"protocol\.head is merged, but there is no over-clustering"):
        segment_task(protocol=paper(head="merged"), **changes)


def test_a_run_stores_its_groups_and_deploys_them(tmp_path: Path) -> None:
    train(composed(tmp_path, *RUN, "protocol.head=merged"))
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    state = read_checkpoint(checkpoint)["state_dict"]
    assert state["merging.current"]
    assert set(state["merging.groups"].flatten().tolist()) == set(range(8))
    network = load(checkpoint).network
    assert list(network.heads) == ["merged", "main", "aux"]
    found = network(images(1, 3, 32, 32))
    assert found.shape[:2] == (1, 8)
    torch.testing.assert_close(found.exp().sum(1), torch.ones_like(found[:, 0]))


@pytest.mark.parametrize(("groups", "changes"), [("fixed", False), ("anew", True)])
def test_groups_are_fixed_before_training_or_found_anew(
    groups: str, changes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Tensor] = []
    inner = Segment.find_groups

    def recorded(self: Segment) -> None:
        stale = not self.merging.current
        inner(self)
        found.extend([self.merging.groups.clone()] * stale)

    monkeypatch.setattr(Segment, "find_groups", recorded)
    train(composed(tmp_path, *RUN, f"protocol.groups={groups}"))  # scored before and after training
    assert len(found) == (2 if changes else 1)


def test_a_run_without_labels_has_merged_categories_too(tmp_path: Path) -> None:
    train(composed(tmp_path, *RUN, "probe=unscored"))
    assert "merged" in load(tmp_path / "checkpoints" / "last.ckpt").network.heads


def test_the_last_checkpoint_has_groups_without_pictures_and_scores(tmp_path: Path) -> None:
    train(composed(tmp_path, *RUN, "probe=unscored", "callbacks.training_pictures=null"))
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["state_dict"]["merging.current"]
