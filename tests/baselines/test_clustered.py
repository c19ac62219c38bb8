"""PiCIE and modified DeepCluster: losses against loops, clusters that belong to their points, runs that repeat."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from src.assembly.train import train
from src.baselines.clustered import ClusteredTask, Clustering, weighted_cross_entropy
from src.baselines.deepcluster import DeepCluster
from src.baselines.picie import PiCIE
from src.baselines.scored_heads import head_weights
from src.errors import DenseSiamError
from src.losses import balanced_weights, category_weights
from src.metrics import Category
from src.models.backbones import resnet
from src.models.dense import DenseFeatures
from src.models.necks import SimplifiedFPN
from src.optim import adam
from src.prediction.loading import load
from tests.composing import composed
from tests.factories import paper

CLASSES = (Category("sky", "stuff"), Category("sand", "stuff"), Category("ball", "thing"))
CLUSTERING = {"share": 0.5, "pixels_per_image": 20, "scored_images": 4, "backend": "sklearn", "seed": 0}
DEMO = (
    "experiment=demo",
    "data.train_scenes=16",
    "data.val_scenes=3",
    "data.batch_size=4",
    "data.num_workers=0",
    "data.views.size=32",
    "data.scene_size=32",
    "protocol.side=32",
    "protocol.resamples=0",
    "estimate_steps=0",
    "trainer.log_every_n_steps=1",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "callbacks.progress=null",
)


def make_task(method: type[ClusteredTask], **changes: Any) -> Any:
    torch.manual_seed(0)
    network = DenseFeatures(resnet("resnet18", None, frozen=False, stages=2), partial(SimplifiedFPN, channels=6))
    options: dict[str, Any] = {
        "network": network,
        "num_categories": 4,
        "num_aux_categories": 9,
        "classes": CLASSES,
        "loss_weights": {"main": "balanced", "aux": "balanced"},
        "balance": "frequency",
        "clustering": Clustering(**(CLUSTERING | changes.pop("clustering", {}))),
        "optimizer": adam(lr=1e-3, weight_decay=0),
        "protocol": paper(),
    }
    return method(**(options | changes))


def make_batch(first: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(first)
    return {
        "views": [torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8, generator=generator) for _ in range(2)],
        "boxes": torch.tensor([[[0.0, 0.0, 1.0, 1.0], [0.8, 0.2, 0.1, 0.9]]]).repeat(2, 1, 1),
        "valid": torch.tensor([True, first != 2]),
        "index": torch.arange(first, first + 2),
    }


@pytest.fixture
def clustered(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A task that has clustered the points of three batches, as when an epoch begins."""

    def make(method: type[ClusteredTask], **changes: Any) -> Any:
        task = make_task(method, **changes)
        batches = [make_batch(first) for first in (0, 2, 4)]
        monkeypatch.setattr(method, "trainer", SimpleNamespace(
            strategy=SimpleNamespace(reduce=lambda value, reduce_op: value, batch_to_device=lambda batch: batch),
            num_training_batches=3,
        ))  # fmt: skip
        monkeypatch.setattr(method, "current_epoch", 0)
        monkeypatch.setattr(method, "all_gather", lambda self, value: value)
        task.prepare(SimpleNamespace(pairs_dataloader=lambda epoch: batches))
        task.on_train_epoch_start()
        return task, batches

    return make


def points(task: Any, batch: dict[str, Any], side: int) -> Tensor:
    return task.at_points(batch, side).detach()


def naive_loss(features: Tensor, centroids: Tensor, labels: Tensor, weights: Tensor, valid: Tensor) -> float:
    """Weighted cross entropy over the weights' sum, one point at a time."""
    loss = total = 0.0
    for image in range(len(features)):
        if not valid[image]:
            continue
        for y in range(features.shape[2]):
            for x in range(features.shape[3]):
                similar = torch.stack([centroid @ features[image, :, y, x] for centroid in centroids])
                label = labels[image, y, x]
                loss += float(weights[label] * -similar.log_softmax(0)[label])
                total += float(weights[label])
    return loss / total


def test_weighted_cross_entropy_is_torchs() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, weights = torch.randn(3, 5, 4, 4, generator=generator), torch.rand(5, generator=generator)
    labels = torch.randint(0, 5, (3, 4, 4), generator=generator)
    loss, weight = weighted_cross_entropy(logits, labels, weights)
    torch.testing.assert_close(loss.sum() / weight.sum(), F.cross_entropy(logits, labels, weight=weights))


def test_each_point_has_the_nearest_centroid_of_its_view(clustered: Any) -> None:
    task, batches = clustered(PiCIE)
    for batch in batches:
        for head, number in (("main", 4), ("aux", 9)):
            labels, centroids = task.labels(head, batch), task.heads[head].points
            assert centroids.shape == (2, number, 6)
            torch.testing.assert_close(centroids.norm(dim=2), torch.ones(2, number))
            for side in (0, 1):
                rows = points(task, batch, side).permute(0, 2, 3, 1).reshape(-1, 6)
                nearest = torch.cdist(rows, centroids[side]).argmin(1)
                assert labels[:, side].flatten().tolist() == nearest.tolist()


def test_clusters_are_weighted_by_the_points_of_valid_images(clustered: Any) -> None:
    task, batches = clustered(PiCIE)
    for head, number in (("main", 4), ("aux", 9)):
        for side in (0, 1):
            counts = torch.zeros(number)
            for batch in batches:
                for image in range(2):
                    if batch["valid"][image]:
                        counts += torch.bincount(task.labels(head, batch)[image, side].flatten(), minlength=number)
            expected = category_weights(counts, "frequency")
            torch.testing.assert_close(task.heads[head].weights[side], expected)


def test_picie_is_half_within_and_half_across(clustered: Any) -> None:
    task, batches = clustered(PiCIE)
    for batch in batches:
        losses, _ = task.compare(batch)
        for head in ("main", "aux"):
            labels, classifier = task.labels(head, batch), task.heads[head]
            terms = [
                naive_loss(
                    points(task, batch, of),
                    classifier.points[by],
                    labels[:, by],
                    classifier.weights[by],
                    batch["valid"],
                )
                for of, by in ((0, 0), (1, 1), (0, 1), (1, 0))
            ]
            within, across = sum(terms[:2]) / 2, sum(terms[2:]) / 2
            assert losses[head].item() == pytest.approx((within + across) / 2, rel=1e-4)


def test_deepcluster_is_cross_entropy_with_the_clusters_of_one_view(clustered: Any) -> None:
    task, batches = clustered(DeepCluster, loss_weights={"main": 1.0, "aux": 0})
    assert set(task.heads) == {"main"}
    classifier = task.heads["main"]
    for batch in batches:
        losses, _ = task.compare(batch)
        labels = task.labels("main", batch)[:, 0]
        expected = naive_loss(
            points(task, batch, 0), classifier.points[0], labels, classifier.weights[0], batch["valid"]
        )
        assert losses["main"].item() == pytest.approx(expected, rel=1e-4)


def test_only_features_learn(clustered: Any) -> None:
    task, batches = clustered(PiCIE)
    losses, _ = task.compare(batches[0])
    (losses["main"] + losses["aux"]).backward()
    moved = {id(one) for group in task.configure_optimizers().param_groups for one in group["params"]}
    assert moved == {id(parameter) for parameter in task.network.parameters()}
    assert all(parameter.grad is not None for parameter in task.network.neck.parameters())
    assert list(task.centroids.parameters()) == []


def test_a_run_resumed_within_an_epoch_clusters_the_rest_of_it_anew(tmp_path: Path) -> None:
    """After two of four steps of an epoch there is a checkpoint; from there two more are made, and all are scored."""
    overrides = [*DEMO, "+ablation=picie", "trainer.max_epochs=1", "trainer.max_steps=2", "callbacks.collapse=null"]
    (tmp_path / "first").mkdir()
    train(composed(tmp_path / "first", *overrides))
    checkpoint = tmp_path / "first" / "checkpoints" / "last.ckpt"
    (tmp_path / "second").mkdir()
    train(composed(tmp_path / "second", *DEMO, "+ablation=picie", "trainer.max_epochs=1", f"ckpt_path={checkpoint}"))
    written = json.loads((tmp_path / "second" / "scores.json").read_text())
    assert written["cost"]["steps"] == 4
    assert written["scores"]["after training"]["mIoU"] > 0


def test_heads_are_log_balanced_as_in_eq_8() -> None:
    main, aux = balanced_weights(27, 128)
    both = {"main": "balanced", "aux": "balanced"}
    assert head_weights(both, 27, 128) == {"main": main, "aux": aux}
    assert head_weights({"main": "balanced", "aux": 0}, 27, 128) == {"main": 1.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"balance": "class"}, "balance is 'class'"),
        ({"clustering": {"share": 0}}, "task.clustering.share is 0"),
        ({"clustering": {"share": 1.5}}, "task.clustering.share is 1.5"),
        ({"loss_weights": {"main": 1, "aux": 0}, "protocol": paper(head="aux")}, "task.loss_weights.aux is 0"),
        ({"num_categories": 2}, "at least as many clusters as classes"),
    ],
)
def test_what_can_not_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DenseSiamError, match=message):
        make_task(PiCIE, **changes)


@pytest.mark.parametrize("row", ["picie", "picie_aux", "deepcluster", "iic"])
def test_a_run_repeats_and_its_checkpoint_predicts(row: str, tmp_path: Path) -> None:
    scores = []
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        train(composed(tmp_path / folder, *DEMO, f"+ablation={row}", "model.num_aux_categories=16"))
        scores.append(json.loads((tmp_path / folder / "scores.json").read_text()))
    assert scores[0]["scores"] == scores[1]["scores"]
    assert scores[0]["cost"]["steps"] == 8
    merged = ["after training, merged"] if row in ("picie_aux", "iic") else []
    assert list(scores[0]["scores"]) == ["after training", *merged]
    network = load(tmp_path / "first" / "checkpoints" / "last.ckpt").network
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert network(images).shape == (2, 8, 8, 8)


def test_clusters_of_the_over_clustering_head_are_scored_on_request(tmp_path: Path) -> None:
    overrides = (
        "+ablation=picie_aux",
        "model.num_aux_categories=16",
        "protocol.head=aux",
        "protocol.matching=majority",
    )
    assert train(composed(tmp_path, *DEMO, *overrides)) > 0
    network = load(tmp_path / "checkpoints" / "last.ckpt").network
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 16, 8, 8)
