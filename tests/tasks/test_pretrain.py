"""The pre-training task: Eq. 7, and SimSiam where no pixel is compared."""

from collections.abc import Sequence
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from src.losses import DISTANCES, contrastive_region_loss, cosine_distance, similarity_loss
from src.tasks.pretrain import Pretrain
from tests import simsiam
from tests.factories import EQ_7, Batch
from tests.factories import pretrain_batches as make_batches
from tests.factories import pretrain_task as make_task
from tests.refusals import refusal


class Record(Callback):
    """Losses of all steps, learning rates before them, and what else a step gave."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.rates: list[list[float]] = []
        self.embeddings: list[dict[str, tuple[Tensor, Tensor]]] = []

    def on_train_batch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.losses.append(outputs["loss"].item())
        self.embeddings.append(outputs["embeddings"])


def trained(task: Pretrain, batches: list[Batch], epochs: int = 1, callbacks: Sequence[Callback] = ()) -> Record:
    record = Record()
    trainer = lightning.Trainer(
        max_epochs=epochs,
        callbacks=[record, *callbacks],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, torch.utils.data.DataLoader(batches, batch_size=None), [])
    return record


def tensors_of(module: nn.Module) -> list[Tensor]:
    return list(module.state_dict().values())


@pytest.mark.parametrize("changes", [{"grid_size": 0}, {"loss_weights": {"image": 1.0, "dense": 0, "region": 0}}])
def test_without_pixels_it_is_simsiam_to_the_bit(changes: dict[str, Any]) -> None:
    """The same parameters, losses and updates as another SimSiam from the same start, over ten steps of a cosine."""
    task = make_task(output_stride=32, **changes)
    reference = simsiam.SimSiam("resnet18", 24, 8)
    torch.manual_seed(0)
    with torch.no_grad():
        for own, other in zip(tensors_of(reference), tensors_of(task.network), strict=True):
            assert own.shape == other.shape
            own.copy_(other)
    batches = make_batches(10)
    found = trained(task, batches)
    expected = simsiam.train(reference, [tuple(batch["views"]) for batch in batches], lr=0.05)
    assert found.losses == expected
    assert expected[0] != expected[-1]
    for own, other in zip(tensors_of(reference), tensors_of(task.network), strict=True):
        assert torch.equal(own, other)


def test_a_step_minimises_the_weighted_sum_of_the_pure_functions() -> None:
    task, (batch,) = make_task(), make_batches(1)
    first, second = (task.network.view(x, batch["boxes"][:, side], True) for side, x in enumerate(batch["views"]))
    expected = (
        similarity_loss(*first.image, *second.image, cosine_distance, True)
        + similarity_loss(*first.dense, *second.dense, DISTANCES["cross_entropy"], True)
        + 0.1 * contrastive_region_loss(*first.region, *second.region, 0.1, True, False)
    ).mean()
    assert trained(task, [batch]).losses == [pytest.approx(expected.item(), rel=1e-5)]


def test_pairs_without_an_overlap_count_for_the_image_alone() -> None:
    (batch,) = make_batches(1)
    batch["valid"] = torch.tensor([True, False, True, False])
    for region, counted in (("image", [0, 1, 2, 3]), ("intersection", [0, 2])):
        task = make_task(global_region=region)
        first, second = (task.network.view(x, batch["boxes"][:, side], True) for side, x in enumerate(batch["views"]))
        image = similarity_loss(*first.image, *second.image, cosine_distance, True)[counted].mean()
        dense = similarity_loss(*first.dense, *second.dense, DISTANCES["cross_entropy"], True)[[0, 2]].mean()
        regions = contrastive_region_loss(*first.region, *second.region, 0.1, True, False)[[0, 2]].mean()
        assert trained(task, [batch]).losses == [pytest.approx((image + dense + 0.1 * regions).item(), rel=1e-5)]


def test_the_intersection_is_the_mean_of_its_points() -> None:
    """Four columns of features, left half of the view: with K = 2 the points are the cells 0 and 1 themselves."""
    task, (batch,) = make_task(global_region="intersection", grid_size=2), make_batches(1)
    seen: list[Tensor] = []
    task.network.image_head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    left = torch.tensor([[0.0, 0.0, 0.5, 0.5]]).repeat(4, 1)
    task.network.eval()
    task.network.view(batch["views"][0], left, False)
    features = task.network.features(batch["views"][0])
    assert features.shape[2:] == (4, 4)
    torch.testing.assert_close(seen[0], features[:, :, :2, :2].mean((2, 3)))


@pytest.mark.parametrize(
    ("changes", "built"),
    [
        ({}, {"image_head", "head", "region_head"}),
        ({"grid_size": 0}, {"image_head"}),
        ({"loss_weights": {"image": 1, "dense": 0, "region": 0}}, {"image_head"}),
        ({"loss_weights": {"image": 1, "dense": 1, "region": 0}}, {"image_head", "head"}),
        ({"loss_weights": {"image": 1, "dense": 0, "region": 0.1}}, {"image_head", "head", "region_head"}),
        ({"loss_weights": {"image": 0, "dense": 1, "region": 0}}, {"head"}),
        ({"region_start": None}, {"image_head", "head"}),
    ],
)
def test_heads_that_never_count_are_not_built(changes: dict[str, Any], built: set[str]) -> None:
    network = make_task(**changes).network
    heads = ("image_head", "head", "aux_head", "region_head")
    assert {name for name in heads if getattr(network, name) is not None} == built
    if network.head is not None:
        assert (network.head.predictor is not None) == (changes.get("loss_weights", EQ_7)["dense"] != 0)


def test_regions_wake_with_their_epoch_and_their_embeddings_show_it() -> None:
    found = trained(make_task(region_start=0.5), make_batches(1), epochs=4)
    assert [sorted(step) for step in found.embeddings] == [["dense", "image"]] * 2 + [["dense", "image", "region"]] * 2
    shapes = {name: [tuple(side.shape) for side in pair] for name, pair in found.embeddings[-1].items()}
    assert shapes == {"image": [(4, 24)] * 2, "dense": [(4, 9, 12)] * 2, "region": [(4, 12, 16)] * 2}
    assert not any(side.requires_grad for pair in found.embeddings[-1].values() for side in pair)


def test_without_pixsim_the_masks_are_computed_only_while_regions_are_active() -> None:
    task = make_task(loss_weights={"image": 1.0, "dense": 0, "region": 0.1}, region_start=0.5)
    found = trained(task, make_batches(1), epochs=2)
    assert [sorted(step) for step in found.embeddings] == [["image"], ["dense", "image", "region"]]


@pytest.mark.parametrize("dense", [1.0, 0])
def test_inactive_heads_stay_as_they_are(dense: float) -> None:
    """Weight decay would shrink them by orders of magnitude before half of 800 epochs are over."""
    task = make_task(loss_weights={"image": 1.0, "dense": dense, "region": 0.1}, region_start=0.5)
    inactive = [task.network.region_head] if dense else [task.network.region_head, task.network.head]
    before = [value.clone() for head in inactive for value in tensors_of(head)]
    seen: list[bool] = []

    class Compare(Callback):
        def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
            now = [value for head in inactive for value in tensors_of(head)]
            seen.append(all(map(torch.equal, now, before)))

    trained(task, make_batches(2), epochs=4, callbacks=[Compare()])
    assert seen == [True, True, False, False]


def test_the_predictors_rate_may_stay() -> None:
    task = make_task(constant_predictor_lr=True)
    names = {name for name, _ in task.network.named_parameters() if ".predictor." in name}
    assert {name.split(".")[0] for name in names} == {"head", "image_head", "region_head"}
    rates = trained(task, make_batches(4)).rates
    assert [stays for _, stays in rates] == [0.05] * 4
    assert [falls for falls, _ in rates] == pytest.approx([0.05, 0.05 * 0.8535534, 0.025, 0.05 * 0.1464466])
    (_, predictors) = task.configure_optimizers()["optimizer"].param_groups
    assert len(predictors["params"]) == len(names)


def test_a_constant_schedule_is_constant() -> None:
    assert trained(make_task(schedule="constant"), make_batches(3)).rates == [[0.05, 0.05]] * 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid_size": -1}, "grid_size is -1: expected a whole number from 0 to 256, or null for one point per cell"),
        ({"grid_size": 7.5}, "grid_size is 7.5: expected a whole number"),
        ({"grid_position": "nowhere"}, "grid_position is 'nowhere': choose one of before_projector, after_projector"),
        ({"global_region": "overlap"}, "global_region is 'overlap': choose one of image, intersection"),
        ({"grid_size": 0, "global_region": "intersection"}, "but grid_size is 0: set grid_size=7"),
        ({"grid_size": 0, "loss_weights": {"dense": 1.0}}, "nothing is left to train on"),
        ({"loss_weights": {"image": 1, "seg": 1}}, "loss_weights has seg: expected only image, dense, region"),
        ({"loss_weights": {"image": "balanced"}}, "loss_weights.image is 'balanced': expected a finite number from 0"),
        ({"schedule": "linear"}, "schedule is 'linear': choose one of cosine, constant"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], message: str) -> None:
    refusal(lambda: make_task(**changes), message)


@pytest.mark.parametrize(
    "changes",
    [{"grid_size": 0}, {"grid_size": 1, "grid_position": "before_projector", "loss_weights": {"dense": 1.0}}],
)
def test_one_image_under_batch_norm_is_refused(changes: dict[str, Any]) -> None:
    refusal(lambda: trained(make_task(**changes), make_batches(1, size=1)), "batch norm", "1 image(s)", "batch_size")


def test_one_image_is_enough_where_its_points_are_many() -> None:
    """Batch norm sees 9 points of the image, and 12 regions."""
    weights = {"image": 0, "dense": 1.0, "region": 0.1}
    record = trained(make_task(loss_weights=weights), make_batches(1, size=1))
    assert len(record.losses) == 1
