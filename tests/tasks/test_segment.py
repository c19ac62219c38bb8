"""The segmentation task: which losses count when, and what a step minimises."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from src.errors import DenseSiamError
from src.losses import (
    DISTANCES,
    balanced_weights,
    category_counts,
    category_weights,
    contrastive_region_loss,
    cosine_distance,
    segmentation_loss,
    similarity_loss,
)
from src.models.backbones import resnet
from src.models.siamese import View
from src.tasks.siamese import epochs_of
from tests.factories import TABLE_5, alone, at_epoch
from tests.factories import segment_batch as make_batch
from tests.factories import segment_task as make_task
from tests.refusals import refusal


@pytest.mark.parametrize("weights", TABLE_5)
def test_each_row_of_table_5_builds_and_computes_only_its_losses(
    weights: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(loss_weights=weights, region_start=0.0)
    at_epoch(task, 0, 10, monkeypatch)
    expected = {name for name, weight in weights.items() if weight != 0}
    batch = make_batch()
    views = [task.network.view(x, batch["boxes"][:, side], True) for side, x in enumerate(batch["views"])]
    assert set(task.criterion(*views, batch["valid"], alone)) == expected == set(task.weights)
    assert (task.network.aux_head is not None) == ("aux" in expected)
    assert (task.network.region_head is not None) == ("region" in expected)


def test_a_step_minimises_the_weighted_sum_of_the_pure_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    task, batch = make_task(region_start=0.0), make_batch()
    at_epoch(task, 0, 10, monkeypatch)
    first, second = (task.network.view(x, batch["boxes"][:, side], True) for side, x in enumerate(batch["views"]))
    dense_weight, aux_weight = balanced_weights(4, 10)
    distance = DISTANCES["cross_entropy"]

    def seg(view: View) -> Tensor:
        return segmentation_loss(view.z, category_weights(category_counts(view.z, batch["valid"]), "frequency"))

    assert all(pair is not None for view in (first, second) for pair in (view.dense, view.aux, view.seg, view.region))
    expected = (
        dense_weight * similarity_loss(*first.dense, *second.dense, distance, True)
        + aux_weight * similarity_loss(*first.aux, *second.aux, distance, True)
        + 1.0 * (0.5 * seg(first) + 0.5 * seg(second))
        + 0.1 * contrastive_region_loss(*first.region, *second.region, 0.1, True, False)
    ).mean()
    assert task.training_step(batch, 0)["loss"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_invalid_pairs_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    task, batch = make_task(region_start=0.0), make_batch()
    at_epoch(task, 0, 10, monkeypatch)
    first, second = (task.network.view(x, batch["boxes"][:, side], True) for side, x in enumerate(batch["views"]))
    some, _ = task.compare(batch | {"valid": torch.tensor([True, False, True])})
    per_image = similarity_loss(*first.dense, *second.dense, DISTANCES["cross_entropy"], True)
    assert some["dense"].item() == pytest.approx(per_image[[0, 2]].mean().item())
    none, _ = task.compare(batch | {"valid": torch.zeros(3, dtype=torch.bool)})
    assert all(value.item() == 0 for value in none.values())


@pytest.mark.parametrize(
    ("start", "epochs", "active_epochs"),
    [
        (0.8, 10, [8, 9]),  # the release
        (0.5, 10, [5, 6, 7, 8, 9]),
        (0.0, 10, list(range(10))),
        (None, 10, []),
        (0.8, 4, [3]),
        (0.8, 3, [2]),
        (0.8, 1, [0]),
        (0.5, 5, [2, 3, 4]),
        (0.99, 2, [1]),
        (0.7, 10, [7, 8, 9]),
        (0.29, 100, list(range(29, 100))),  # 28.999999999999996 in floats
        (0.57, 100, list(range(57, 100))),  # 56.99999999999999
        (0.5, 800, list(range(400, 800))),  # the paper
    ],
)
def test_regions_count_from_their_share_of_the_epochs_on(
    start: float | None, epochs: int, active_epochs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(region_start=start)
    found = []
    for epoch in range(epochs):
        at_epoch(task, epoch, epochs, monkeypatch)
        found += [epoch] if task.regions_active() else []
    assert found == active_epochs
    assert (task.network.region_head is None) == (start is None)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_epochs": 10}, 10),
        ({"max_epochs": 10, "max_steps": 4}, 2),  # of 4 batches, 2 of them a step
        ({"max_epochs": 10, "max_steps": 5}, 3),  # the last one in part
        ({"max_epochs": 10, "max_steps": 100}, 10),
        ({"max_epochs": -1, "max_steps": 3}, 2),
        ({"max_epochs": -1}, None),
    ],
)
def test_the_epochs_of_a_run_that_epochs_or_steps_end(options: dict[str, int], expected: int | None) -> None:
    trainer: Any = SimpleNamespace(**({"max_steps": -1} | options), num_training_batches=4, accumulate_grad_batches=2)
    assert epochs_of(trainer) == expected


def test_region_start_needs_an_end_unless_it_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task()
    at_epoch(task, 0, -1, monkeypatch)
    refusal(task.regions_active, "set trainer.max_epochs or trainer.max_steps, or region_start=0 or null")
    task = make_task(region_start=0.0)
    at_epoch(task, 0, -1, monkeypatch)
    assert task.regions_active()


@pytest.mark.parametrize("parallel", [True, False])
def test_an_inactive_region_head_computes_nothing_and_gets_zero_gradients_for_ddp_alone(
    parallel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, batch = make_task(), make_batch()
    at_epoch(task, 0, 10, monkeypatch)
    if parallel:
        monkeypatch.setattr(DDPStrategy, "reduce", lambda self, value, reduce_op: value)
        task.trainer.strategy = DDPStrategy()
    assert task.network.region_head is not None
    monkeypatch.setattr(task.network.region_head, "forward", lambda *args: pytest.fail("RegionSim should be inactive"))
    task.training_step(batch, 0)["loss"].backward()
    gradients = [parameter.grad for parameter in task.network.region_head.parameters()]
    if parallel:
        assert all(gradient is not None and not gradient.any() for gradient in gradients)
    else:
        assert all(gradient is None for gradient in gradients)


def test_without_stop_gradient_the_targets_learn_too(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = []
    for stop in (True, False):
        task, batch = make_task(stop_gradient=stop, loss_weights=TABLE_5[0], region_start=None), make_batch()
        at_epoch(task, 0, 10, monkeypatch)
        task.training_step(batch, 0)["loss"].backward()
        weight = task.network.head.projector[0].weight
        assert weight.grad is not None
        sums.append(weight.grad.abs().sum().item())
    assert sums[0] != pytest.approx(sums[1], rel=1e-3)


def test_similarity_form_of_the_region_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    task, batch = make_task(region_loss="similarity", region_start=0.0), make_batch()
    at_epoch(task, 0, 10, monkeypatch)
    first, second = (task.network.view(x, batch["boxes"][:, side], True) for side, x in enumerate(batch["views"]))
    (u1, v1), (u2, v2) = first.region, second.region
    expected = 0.5 * (cosine_distance(u1.mT, v2.mT) + cosine_distance(u2.mT, v1.mT)).mean()
    assert task.criterion(first, second, batch["valid"], alone)["region"].mean().item() == pytest.approx(
        expected.item(), rel=1e-5
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_categories": 2}, "2 clusters and 3 classes"),
        ({"loss_weights": {"dense": 1, "contrast": 1}}, "loss_weights has contrast"),
        ({"loss_weights": {"dense": 0}}, "every loss weight is 0"),
        ({"loss_weights": {"seg": "balanced"}}, "loss_weights.seg is 'balanced'"),
        ({"loss_weights": {"dense": -1}}, "loss_weights.dense is -1"),
        ({"region_start": 1.5}, "region_start is 1.5: expected a finite number from 0 below 1"),
        ({"loss_weights": {"region": 0.1}}, "the region loss is alone and counts only from 0.8"),
        ({"distance": "euclid"}, "distance is 'euclid': choose one of cosine"),
        ({"seg_weighting": "equal"}, "seg_weighting is 'equal'"),
        ({"region_loss": "mse"}, "region_loss is 'mse'"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DenseSiamError, match=message) as caught:
        make_task(**changes)
    assert "\n" not in str(caught.value)


def test_without_the_auxiliary_head_lambda_1_is_1() -> None:
    assert make_task(loss_weights=TABLE_5[0]).weights == {"dense": 1.0}
    assert make_task(loss_weights=TABLE_5[1]).weights["dense"] == pytest.approx(balanced_weights(4, 10)[0])


def test_maps_whose_cells_do_not_cover_the_image_are_refused() -> None:
    encoder = resnet("resnet18", None, False, align_corners=True)
    refusal(lambda: make_task(encoder=encoder), "model.encoder.align_corners is true")
