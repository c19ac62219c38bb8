"""Prototypes are trained by the losses of the paper on their logits, each set by itself."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from src.errors import DenseSiamError
from src.losses import balance_loss, contrastive_region_loss, cross_entropy_distance, similarity_loss
from src.models.backbones import resnet
from src.models.necks import PrincipalComponents
from src.models.prototypes import PrototypeNetwork
from src.optim import adam
from src.tasks.prototypes import SegmentPrototypes
from tests.factories import CLASSES, alone, noise, paper
from tests.factories import segment_batch as make_batch


def make_task(sets: int = 2, **changes: Any) -> SegmentPrototypes:
    torch.manual_seed(0)
    encoder = resnet("resnet18", None, frozen=True, stages=2)
    network = PrototypeNetwork(encoder, lambda channels: PrincipalComponents(channels, 8, frozen=True), 3, 6, sets, 0.1)
    torch.nn.init.normal_(network.prototypes.projection)
    options: dict[str, Any] = {
        "loss_weights": {"dense": 1.0, "region": 0.5, "balance": 0.25},
        "region_temperature": 0.1,
        "region_stop_gradient": False,
        "optimizer": adam(lr=1e-3, weight_decay=0),
        "protocol": paper(head="merged"),
    }
    task = SegmentPrototypes(network, CLASSES, **(options | changes))
    task.mean_over_processes = alone
    return task


def sides(task: SegmentPrototypes, batch: dict[str, Any]) -> list[tuple[Tensor, Tensor]]:
    """Projected features (B, S, C, K, K) and logits (B, S, M, K, K) of both views."""
    head = task.network.prototypes
    found = []
    for side, x in enumerate(batch["views"]):
        projected = head.projected(task.network.overlap(x, batch["boxes"][:, side]))
        found.append((projected, head.of_projected(projected)))
    return found


def test_losses_are_those_of_each_set_averaged() -> None:
    task, batch = make_task(), make_batch()
    batch["valid"] = torch.tensor([True, False, True])
    found, embeddings = task.compare(batch)
    (first, a), (second, b) = sides(task, batch)
    dense, region, balance = [], [], []
    for one in range(2):
        za, zb = a[:, one], b[:, one]
        dense.append(similarity_loss(za, za, zb, zb, cross_entropy_distance, True)[[0, 2]].mean())
        masks = [z.softmax(1).flatten(2) for z in (za, zb)]
        ea, eb = (mask @ e[:, one].flatten(2).mT for mask, e in zip(masks, (first, second), strict=True))
        region.append(contrastive_region_loss(ea, ea, eb, eb, 0.1, True, False)[[0, 2]].mean())
        for z in (za, zb):
            mean = z[[0, 2]].softmax(1).mean((0, 2, 3))
            balance.append(math.log(6) + (mean * mean.log()).sum())
    for name, expected in (("dense", dense), ("region", region), ("balance", balance)):
        torch.testing.assert_close(found[name], torch.stack(expected).mean(), msg=name)
    assert [tuple(each.shape) for each in embeddings["dense"]] == [(3, 64, 6)] * 2


@pytest.mark.parametrize("name", ["dense", "region", "balance"])
def test_only_losses_with_a_weight_are_computed(name: str) -> None:
    task = make_task(loss_weights={"dense": 0, "region": 0, "balance": 0} | {name: 1.0})
    assert set(task.compare(make_batch())[0]) == {name}


def test_prototypes_learn_and_encoder_and_neck_do_not() -> None:
    task = make_task()
    losses, _ = task.compare(make_batch())
    sum(losses.values()).backward()
    moved = {name for name, parameter in task.network.named_parameters() if parameter.grad is not None}
    assert moved == {"prototypes.points", "prototypes.projection"}


def test_steps_make_both_views_agree_more() -> None:
    task, batch = make_task(loss_weights={"dense": 1.0}), make_batch()
    optimizer = task.configure_optimizers()
    values = []
    for _ in range(20):
        loss = task.compare(batch)[0]["dense"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.97 * values[0]


def test_one_set_gives_what_the_same_prototypes_give_twice() -> None:
    one, two = make_task(sets=1), make_task(sets=2)
    two.network.neck.load_state_dict(one.network.neck.state_dict())
    two.network.encoder.load_state_dict(one.network.encoder.state_dict())
    with torch.no_grad():
        for name, parameter in two.network.prototypes.named_parameters():
            parameter.copy_(one.network.prototypes.get_parameter(name).expand_as(parameter))
    batch = make_batch()
    torch.testing.assert_close(one.compare(batch)[0], two.compare(batch)[0])


def test_balance_is_zero_for_equal_shares_and_log_m_for_one_category() -> None:
    valid = torch.tensor([True, True, False])
    equal = torch.zeros(3, 1, 4, 2, 2)
    torch.testing.assert_close(balance_loss(equal, valid), torch.zeros(1))
    one = torch.full((3, 1, 4, 2, 2), -1e3)
    one[:, :, 2] = 1e3
    torch.testing.assert_close(balance_loss(one, valid), torch.tensor([math.log(4)]))
    each = one.roll(1, 2)
    each[1] = one[1]  # the valid images have one category each
    torch.testing.assert_close(balance_loss(each, valid), torch.tensor([math.log(4) - math.log(2)]))


def test_balance_without_a_valid_image_is_zero_with_a_gradient() -> None:
    z = noise(2, 3, 4, 2, 2).requires_grad_()
    found = balance_loss(z, torch.zeros(2, dtype=torch.bool))
    assert found.tolist() == [0, 0, 0]
    found.sum().backward()
    assert torch.equal(z.grad, torch.zeros_like(z))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": paper()}, "protocol.head is main with 2 sets"),
        ({"protocol": paper(head="aux")}, "protocol.head is aux with 2 sets"),
        ({"loss_weights": {"dense": 0}}, "every loss weight is 0"),
        ({"loss_weights": {"dense": -1}}, "task.loss_weights.dense is -1"),
        ({"loss_weights": {"aux": 1}}, "aux"),
        ({"region_temperature": 0}, "task.region_temperature is 0"),
    ],
)
def test_what_can_not_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DenseSiamError, match=message):
        make_task(**changes)


def test_deployed_are_merged_categories_and_with_one_set_the_prototypes() -> None:
    task = make_task(sets=2)
    task.merging.current.fill_(True)
    assert list(task.deployed().heads) == ["merged"]
    single = make_task(sets=1)
    assert list(single.deployed().heads) == ["aux"]  # no groups yet
    single.merging.current.fill_(True)
    network = single.deployed()
    assert list(network.heads) == ["merged", "aux"]
    image = torch.zeros(1, 3, 32, 32)
    single.eval()
    torch.testing.assert_close(network.eval()(image), single(image))
