"""Scoring a module under a protocol."""

from collections.abc import Sequence
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from src.evaluation.scoring import Scoring
from src.metrics import Category, class_iou
from src.tasks.pixels import PixelTask
from tests.factories import paper
from tests.factories import segment_task as make_task
from tests.refusals import refusal

TWO = (Category("a", "stuff"), Category("b", "thing"))


class Given(PixelTask):
    """Predicts what the images hold in their first channel: cluster numbers."""

    def __init__(self, classes: Sequence[Category], num_clusters: int, **protocol: Any) -> None:
        given = paper(**protocol)
        super().__init__(Scoring(classes, num_clusters, given.matching), given, "given")
        self.num_clusters = num_clusters

    def forward(self, images: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(images[:, 0].long(), self.num_clusters).permute(0, 3, 1, 2).float()


def item(clusters: list[list[int]], label: list[list[int]], index: int = 0) -> dict[str, Any]:
    image = torch.tensor(clusters, dtype=torch.uint8).expand(3, -1, -1)
    return {"image": image, "label": torch.tensor(label), "index": index, "unreadable": ""}


def scored(module: PixelTask, items: list[dict[str, Any]]) -> dict[str, float]:
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = lightning.Trainer(**options, enable_model_summary=False)
    trainer.validate(module, DataLoader(items, batch_size=1), verbose=False)
    return module.scoring.scores


def test_unmatched_clusters_count_as_wrong() -> None:
    """Cluster 2 is left over. Without its pixels, as STEGO and EAGLE have it, a would have 100 and b 50 percent."""
    scores = scored(Given(TWO, 3), [item([[0, 0, 0, 2], [2, 2, 1, 1]], [[0, 0, 0, 0], [0, 0, 1, 255]])])
    assert scores["IoU/a"] == pytest.approx(50.0)
    assert scores["IoU/b"] == pytest.approx(100.0)
    assert scores["mIoU"] == pytest.approx(75.0)
    assert scores["accuracy"] == pytest.approx(100 * 4 / 7)
    confusion = torch.tensor([[3, 0, 3], [0, 1, 0]])
    dropped = class_iou(confusion[:, :2], torch.tensor([0, 1]))
    assert dropped.mean().item() == pytest.approx(100.0)


def test_by_majority_several_clusters_are_one_class() -> None:
    items = [item([[0, 0, 0, 2], [2, 2, 1, 1]], [[0, 0, 0, 0], [0, 0, 1, 255]])]
    assert scored(Given(TWO, 3, matching="majority"), items)["mIoU"] == pytest.approx(100.0)


def test_each_image_is_kept_by_its_index() -> None:
    module = Given(TWO, 2)
    scored(module, [item([[0, 1]], [[0, 1]], index=1), item([[1, 1]], [[0, 255]], index=0)])
    assert module.scoring.matrices is not None
    assert module.scoring.matrices.counts.toarray().tolist() == [[0, 1, 0, 0], [1, 0, 0, 1]]


def test_labels_keep_their_own_size() -> None:
    """Logits are upsampled to the labels, image by image."""
    items = [item([[0, 1]], [[0, 0, 1, 1]] * 2), item([[1]], [[1, 1, 255]], index=1)]
    assert scored(Given(TWO, 2), items)["mIoU"] == pytest.approx(100.0)


def test_flipping_averages_with_the_mirror_image() -> None:
    """One pixel of three is right only where both agree or the true side wins; a lone 1 beside 0s ties to cluster 0."""
    label = [[1, 0, 0]]
    plain = Given(TWO, 2)
    assert scored(plain, [item([[1, 0, 0]], label)])["accuracy"] == pytest.approx(100.0)

    class Sided(Given):
        """Says cluster 1 wherever an image begins, whatever it shows."""

        def forward(self, images: Tensor) -> Tensor:
            logits = torch.zeros(len(images), 2, 1, 3)
            logits[:, 1, :, 0] = 1.0
            logits[:, 0] = 0.6
            return logits

    assert scored(Sided(TWO, 2), [item([[0, 0, 0]], label)])["accuracy"] == pytest.approx(100.0)
    # Averaged with the mirror image both ends have 0.5 for cluster 1, below 0.6 for cluster 0.
    assert scored(Sided(TWO, 2, flip=True), [item([[0, 0, 0]], label)])["accuracy"] == pytest.approx(200 / 3)


def test_the_auxiliary_head_is_scored_with_its_own_clusters() -> None:
    task = make_task(protocol=paper(head="aux", matching="majority"))
    images = torch.rand(2, 3, 32, 32)
    task.eval()
    assert task.scoring.total.shape == (3, task.network.num_aux_categories)
    torch.testing.assert_close(task(images), task.network.aux_logits(images))
    assert not torch.equal(task(images)[:, :3], task.network(images)[:, :3])
    refusal(
        lambda: make_task(loss_weights={"dense": 1.0}, protocol=paper(head="aux")), "protocol.head", "no auxiliary head"
    )


def test_the_releases_numbers_are_given_where_they_exist() -> None:
    items = [item([[0, 0, 1], [1, 1, 1]], [[0, 0, 0], [1, 1, 1]])]
    scores = scored(Given(TWO, 2, release_blocks=True), items)
    assert scores["release_block_mIoU_thing"] == pytest.approx(100.0)  # cluster 0, which is stuff
    assert scores["release_block_mIoU_stuff"] == pytest.approx(100.0)
    assert scores["mIoU_thing"] == pytest.approx(75.0)
    assert not [name for name in scored(Given(TWO, 2), items) if name.startswith("release_block")]
    refusal(lambda: Given(TWO, 3, release_blocks=True), "one cluster per class", "3 clusters", "2 classes")
    refusal(lambda: Given(TWO, 2, release_blocks=True, matching="majority"), "matching=majority")
